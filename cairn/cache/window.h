// SPDX-License-Identifier: Apache-2.0
// How much of a sequence a layer with a window keeps: docs/pass.md, "Windows".
#pragma once

#include <cstddef>
#include <cstdint>

namespace cairn {

// Blocks that such a layer holds of a sequence at most, while it grows token by token: what the window covers, what may
// be trimmed or computed again behind it, and the block that is being filled. Requires: window > 0.
std::size_t max_window_blocks(std::uint32_t window);

}  // namespace cairn
