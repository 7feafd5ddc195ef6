// SPDX-License-Identifier: Apache-2.0
#include "cairn/tune/nsga2.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace cairn {
namespace {

// Candidates by rank. With two objectives, those of one rank are taken off in one pass over the sorted rest.
std::vector<std::vector<std::size_t>> layers_of(std::span<const Cost> costs) {
  std::vector<std::size_t> rest(costs.size());
  std::iota(rest.begin(), rest.end(), std::size_t{0});
  std::ranges::stable_sort(rest, [&](std::size_t a, std::size_t b) {
    return costs[a].bytes != costs[b].bytes ? costs[a].bytes < costs[b].bytes : costs[a].error < costs[b].error;
  });
  std::vector<std::vector<std::size_t>> layers;
  while (!rest.empty()) {
    std::vector<std::size_t>& layer = layers.emplace_back();
    std::erase_if(rest, [&](std::size_t i) {
      if (!layer.empty() && dominates(costs[layer.back()], costs[i])) return false;
      layer.push_back(i);
      return true;
    });
  }
  return layers;
}

// `layer` is sorted by bytes and hence by errors, backwards.
void set_crowding(std::span<const Cost> costs, std::span<const std::size_t> layer, std::vector<Fitness>& fitness) {
  const Cost& small = costs[layer.front()];
  const Cost& large = costs[layer.back()];
  const auto bytes = static_cast<double>(large.bytes - small.bytes);
  const double errors = small.error / 2 - large.error / 2;  // halves, for a difference may be beyond the finite
  for (std::size_t i = 0; i < layer.size(); ++i) {
    double& crowding = fitness[layer[i]].crowding;
    if (i > 0 && costs[layer[i]] == costs[layer[i - 1]]) {
      crowding = 0;
    } else if (i == 0 || costs[layer[i]] == large) {
      crowding = std::numeric_limits<double>::infinity();
    } else {
      const Cost& before = costs[layer[i - 1]];
      const Cost& after = costs[layer[i + 1]];
      crowding =
          static_cast<double>(after.bytes - before.bytes) / bytes + (before.error / 2 - after.error / 2) / errors;
    }
  }
}

}  // namespace

std::vector<Fitness> fitness(std::span<const Cost> costs) {
  std::vector<Fitness> of(costs.size());
  const auto layers = layers_of(costs);
  for (std::size_t rank = 0; rank < layers.size(); ++rank) {
    for (const std::size_t i : layers[rank]) of[i].rank = rank;
    set_crowding(costs, layers[rank], of);
  }
  return of;
}

std::vector<std::size_t> fittest(std::span<const Cost> costs, std::size_t count) {
  const std::vector<Fitness> of = fitness(costs);
  std::vector<std::size_t> order(costs.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return of[a].better_than(of[b]); });
  order.resize(std::min(count, order.size()));
  return order;
}

}  // namespace cairn
