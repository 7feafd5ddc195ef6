// SPDX-License-Identifier: Apache-2.0
// Which of several recipes nothing else beats in both respects.
#pragma once

#include <cstddef>
#include <vector>

namespace cairn {

struct CostPair {
  double first = 0, second = 0;  // less is better in both
};

// Indices of the pairs that no other pair beats: is nowhere worse and somewhere better. By rising `first`; equal pairs
// stay together.
std::vector<std::size_t> pareto_front(const std::vector<CostPair>& pairs);

}  // namespace cairn
