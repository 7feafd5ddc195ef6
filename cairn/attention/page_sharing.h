// SPDX-License-Identifier: Apache-2.0
// Which query rows of a batch can take the same pages in one pass.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cairn/attention/attend.h"

namespace cairn {

// The rows of batch[i] for each of these i have the same kSplitPages full pages in this split, and see all of them.
struct SharedSplit {
  std::uint32_t split = 0;
  std::vector<std::uint32_t> members;  // at least two
};

// Looks at those with few rows: others fill a tile by themselves. At most `max_rows` rows together.
std::vector<SharedSplit> shared_splits(std::span<const AttendRows> batch, std::uint32_t window, std::uint32_t max_rows);

}  // namespace cairn
