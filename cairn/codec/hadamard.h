// SPDX-License-Identifier: Apache-2.0
// The basis of rotated codecs: each head is turned by a Hadamard transform, which spreads outlier channels over all of
// them and leaves q K unchanged when both are turned. Turning twice gives back the start.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace cairn {

// Turns each head of `rows` [n, head_dim] in place. Requires: the size is a multiple of head_dim.
void turn_heads(std::span<float> rows, std::uint32_t head_dim);

}  // namespace cairn
