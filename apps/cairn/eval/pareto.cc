// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/eval/pareto.h"

#include <algorithm>
#include <numeric>

namespace cairn {

std::vector<std::size_t> pareto_front(const std::vector<CostPair>& pairs) {
  std::vector<std::size_t> order(pairs.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) {
    return pairs[a].first != pairs[b].first ? pairs[a].first < pairs[b].first : pairs[a].second < pairs[b].second;
  });
  std::vector<std::size_t> front;
  for (const std::size_t i : order) {
    const bool better = front.empty() || pairs[i].second < pairs[front.back()].second;
    const bool equal =
        !front.empty() && pairs[i].first == pairs[front.back()].first && pairs[i].second == pairs[front.back()].second;
    if (better || equal) front.push_back(i);
  }
  return front;
}

}  // namespace cairn
