// SPDX-License-Identifier: Apache-2.0
// How many rows of a prompt a pass takes.
#pragma once

#include <algorithm>
#include <cstddef>

#include "cairn/block/shape.h"

namespace cairn {

// At most `most` of the `wanted` tokens that follow `held` ones. A chunk that is not the last ends on a block border
// where it can, so that what was computed can be shared as it goes. Requires: wanted, most > 0.
constexpr std::size_t chunk_rows(std::size_t held, std::size_t wanted, std::size_t most) {
  const std::size_t count = std::min(wanted, most), beyond = (held + count) % kBlockTokens;
  return count < wanted && beyond < count ? count - beyond : count;
}

}  // namespace cairn
