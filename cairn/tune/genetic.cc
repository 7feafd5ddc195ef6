// SPDX-License-Identifier: Apache-2.0
#include "cairn/tune/genetic.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace cairn::tune {
namespace {

// Depth first over the units; `floor[u]` is what the units from u on need at least, so that every branch that is
// entered has a plan that fits at its end.
struct Listing {
  std::span<const Unit> units;
  std::vector<std::uint64_t> floor;
  std::size_t max_plans;
  std::vector<Picks> found;
  Picks picks;

  bool list(std::uint64_t left) {
    const std::size_t u = picks.size();
    if (u == units.size()) {
      found.push_back(picks);
      return found.size() <= max_plans;
    }
    for (std::size_t c = 0; c < units[u].choices.size(); ++c) {
      const std::uint64_t bytes = units[u].choices[c].bytes;
      if (bytes > left || floor[u + 1] > left - bytes) break;
      picks.push_back(c);
      const bool room = list(left - bytes);
      picks.pop_back();
      if (!room) return false;
    }
    return true;
  }
};

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

std::vector<Picks> Breeding::all_that_fit(std::size_t max_plans) const {
  Listing listing{units_, std::vector<std::uint64_t>(units_.size() + 1), max_plans, {}, {}};
  for (std::size_t u = units_.size(); u-- > 0;) {
    listing.floor[u] = listing.floor[u + 1] + units_[u].choices.front().bytes;
  }
  if (!listing.list(max_bytes_)) return {};
  return std::move(listing.found);
}

Picks Breeding::anything() {
  double low = random_.unit(), high = random_.unit();
  if (low > high) std::swap(low, high);
  Picks picks;
  for (const Unit& unit : units_) {
    const double at = low + (high - low) * random_.unit();
    picks.push_back(static_cast<std::size_t>(at * static_cast<double>(unit.choices.size())));
  }
  return shrunk(std::move(picks));
}

Picks Breeding::child(const Picks& a, const Picks& b) {
  Picks picks = a;
  for (std::size_t u = 0; u < picks.size(); ++u) {
    if (random_.below(2) == 0) picks[u] = b[u];
    if (random_.below(picks.size()) != 0) continue;
    const std::size_t last = units_[u].choices.size() - 1;
    const bool up = random_.below(2) == 0;
    if (up && picks[u] < last) ++picks[u];
    if (!up && picks[u] > 0) --picks[u];
  }
  return shrunk(std::move(picks));
}

Picks Breeding::stepped(Picks picks) {
  const std::size_t u = random_.below(picks.size());
  const bool up = random_.below(2) == 0;
  if (up && picks[u] + 1 < units_[u].choices.size()) ++picks[u];
  if (!up && picks[u] > 0) --picks[u];
  return shrunk(std::move(picks));
}

Picks Breeding::shrunk(Picks picks) {
  std::uint64_t bytes = total_cost(units_, picks).bytes;
  while (bytes > max_bytes_) {
    const std::size_t u = random_.below(picks.size());
    if (picks[u] == 0) continue;
    bytes -= units_[u].choices[picks[u]].bytes;
    bytes += units_[u].choices[--picks[u]].bytes;
  }
  return picks;
}

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

}  // namespace cairn::tune
