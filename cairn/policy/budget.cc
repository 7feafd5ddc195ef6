// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <queue>
#include <span>
#include <utility>

#include "cairn/base/check.h"
#include "cairn/policy/budget_profile.h"
#include "cairn/policy/candidates.h"

namespace cairn {
namespace {

using retention::Candidates;
using retention::Unit;

using Counts = std::vector<std::size_t>;

// Whole numbers near `wanted` times a common factor, from `low` to `high` each, with the sum `total` as far as these
// allow it. Of two that want the same the first gets no less.
Counts apportion(std::vector<double> wanted, const Counts& low, const Counts& high, std::size_t total) {
  const std::size_t count = wanted.size();
  if (total <= std::accumulate(low.begin(), low.end(), std::size_t{0})) return low;
  if (total >= std::accumulate(high.begin(), high.end(), std::size_t{0})) return high;
  const double least = std::max(*std::ranges::max_element(wanted), 1.0) * 1e-9;  // something for each, so that all fill
  for (double& each : wanted) each = std::max(each, least);
  const auto fitted = [&](std::size_t i, double factor) {
    return std::clamp(factor * wanted[i], static_cast<double>(low[i]), static_cast<double>(high[i]));
  };
  const auto enough = [&](double factor) {
    double sum = 0;
    for (std::size_t i = 0; i < count; ++i) sum += fitted(i, factor);
    return sum >= static_cast<double>(total);
  };
  double below = 0, factor = 1;
  while (!enough(factor)) below = std::exchange(factor, 2 * factor);
  for (int halving = 0; halving < 100; ++halving) {
    const double middle = (below + factor) / 2;
    (enough(middle) ? factor : below) = middle;
  }

  Counts result(count);
  std::vector<double> rest(count);
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::size_t given = 0;
  for (std::size_t i = 0; i < count; ++i) {
    result[i] = static_cast<std::size_t>(fitted(i, factor));
    rest[i] = fitted(i, factor) - static_cast<double>(result[i]);
    given += result[i];
  }
  std::ranges::stable_sort(order, std::greater<>(), [&](std::size_t i) { return rest[i]; });
  while (given < total) {
    for (const std::size_t i : order) {
      if (given < total && result[i] < high[i]) {
        ++result[i];
        ++given;
      }
    }
  }
  return result;
}

// What rules look at: sums over the lists of a layer. Lists of a layer get the same budget, save by `ada`.
struct Layer {
  std::size_t low = 0, high = 0, base = 0;  // tokens of a list: at least, at most, by `keep`
  std::size_t prompt = 0, counted = 0;      // tokens of the sequence: that stay in any case, that `keep` is a share of
  std::vector<double> shares;               // for prefix: the share of their score that lists of low + i tokens keep
  double spread = 0;                        // for entropy: exp(entropy) of what may go
  Counts lists;                             // for ada
};

// Candidates' scores as mass: not below zero, in the order in which they would be kept.
std::vector<double> masses(const PolicySpec& policy, const Candidates& candidates) {
  const double shift = std::min(candidates.least_score, 0.0);
  std::vector<Unit> units = units_of(policy, candidates);
  std::ranges::sort(units, retention::comes_before);
  std::vector<double> mass;
  mass.reserve(candidates.slots.size());
  for (const Unit& unit : units) mass.insert(mass.end(), unit.count, unit.score - shift);
  return mass;
}

void add_shares(const PolicySpec& policy, const Candidates& candidates, std::vector<double>& shares) {
  std::vector<double> mass = masses(policy, candidates);
  double held = candidates.held_score - std::min(candidates.least_score, 0.0) * static_cast<double>(candidates.held());
  double total = std::accumulate(mass.begin(), mass.end(), held);
  if (!(total > 0)) {  // no score tells tokens apart: each has an equal part
    std::ranges::fill(mass, 1.0);
    held = static_cast<double>(candidates.held());
    total = static_cast<double>(candidates.occupied);
  }
  if (shares.size() <= mass.size()) shares.resize(mass.size() + 1, shares.empty() ? 0.0 : shares.back());
  double kept = held;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    if (i > 0 && i <= mass.size()) kept += mass[i - 1];
    shares[i] += total > 0 ? kept / total : 1.0;
  }
}

double spread_of(const PolicySpec& policy, const Candidates& candidates) {
  const std::vector<double> mass = masses(policy, candidates);
  const double total = std::accumulate(mass.begin(), mass.end(), 0.0);
  if (!(total > 0)) return static_cast<double>(mass.size());
  double entropy = 0;
  for (const double each : mass) {
    if (each > 0) entropy -= each / total * std::log(each / total);
  }
  return std::exp(entropy);
}

// The best tokens of these lists, whichever they are of, decide all but a share that is given out evenly.
Counts rival_budgets(const PolicySpec& policy, const std::vector<Candidates>& lists, double even) {
  struct Rival {
    Unit unit;
    std::size_t list;
  };
  std::vector<Rival> rivals;
  Counts low, high;
  std::size_t free = 0, total = 0;
  for (std::size_t i = 0; i < lists.size(); ++i) {
    for (const Unit& unit : units_of(policy, lists[i])) rivals.push_back({unit, i});
    low.push_back(lists[i].held());
    high.push_back(lists[i].occupied);
    free += lists[i].base - lists[i].held();
    total += lists[i].base;
  }
  std::ranges::sort(rivals, [](const Rival& a, const Rival& b) {
    return comes_before(a.unit, b.unit) || (!comes_before(b.unit, a.unit) && a.list < b.list);
  });
  std::vector<double> wanted;
  for (const Candidates& list : lists) {
    wanted.push_back(static_cast<double>(list.held()) + even * static_cast<double>(list.base - list.held()));
  }
  for (const Rival& rival : rivals) {
    const std::size_t won = std::min<std::size_t>(rival.unit.count, free);
    wanted[rival.list] += (1 - even) * static_cast<double>(won);
    free -= won;
  }
  return apportion(wanted, low, high, total);
}

constexpr double kAdaEven = 0.2;  // as Ada-KV has it

Layer look_at(const PolicySpec& policy, const LayerScores& scores) {
  // A profile says all there is to say.
  const BudgetRule rule = policy.profile != nullptr ? BudgetRule::kUniform : policy.budget;
  Layer layer;
  std::vector<Candidates> all;
  const std::size_t lists = retention::lists_of(policy, scores);
  for (std::size_t list = 0; list < lists; ++list) {
    Candidates candidates = retention::gather(policy, scores, list);
    layer.low = std::max(layer.low, candidates.held());
    layer.high = std::max(layer.high, candidates.occupied);
    layer.base = std::max(layer.base, candidates.base);
    layer.prompt = std::max(layer.prompt, candidates.prompt);
    layer.counted = std::max(layer.counted, candidates.tokens - candidates.prompt);
    layer.lists.push_back(candidates.base);
    if (rule == BudgetRule::kPrefix) add_shares(policy, candidates, layer.shares);
    if (rule == BudgetRule::kEntropy) layer.spread += spread_of(policy, candidates);
    if (rule == BudgetRule::kAda) all.push_back(std::move(candidates));
  }
  for (double& share : layer.shares) share /= static_cast<double>(lists);
  layer.spread /= static_cast<double>(std::max<std::size_t>(lists, 1));
  if (rule == BudgetRule::kAda && lists > 0) layer.lists = rival_budgets(policy, all, kAdaEven);
  return layer;
}

void set_global_budgets(const PolicySpec& policy, std::span<const LayerScores> layers, std::vector<Layer>& looked) {
  std::vector<Candidates> all;
  for (const LayerScores& scores : layers) {
    const std::size_t lists = retention::lists_of(policy, scores);
    for (std::size_t list = 0; list < lists; ++list) all.push_back(retention::gather(policy, scores, list));
  }
  const Counts budgets = rival_budgets(policy, all, 0);
  auto next = budgets.begin();
  for (Layer& layer : looked) {
    for (std::size_t& list : layer.lists) list = *next++;
  }
}

// What each list of a layer keeps, where the layers decide among each other.
struct Bounds {
  Counts low, high;
  std::size_t total = 0;
};

Bounds bounds_of(const std::vector<Layer>& layers) {
  Bounds bounds;
  for (const Layer& layer : layers) {
    bounds.low.push_back(layer.low);
    bounds.high.push_back(layer.high);
    bounds.total += layer.base;
  }
  return bounds;
}

// From `greatest` to `least` beyond what is protected. Where the first layers cannot hold so much, the line is flatter.
Counts pyramid_budgets(const std::vector<Layer>& layers) {
  constexpr double kBeta = 20;
  const Bounds bounds = bounds_of(layers);
  double mean = 0, room = static_cast<double>(layers.front().high);
  for (const Layer& layer : layers) {
    mean += static_cast<double>(layer.base - layer.low) / static_cast<double>(layers.size());
    room = std::min(room, static_cast<double>(layer.high - layer.low));
  }
  const double greatest = std::min(2 * mean - mean / kBeta, std::max(room, mean)), least = 2 * mean - greatest;
  std::vector<double> wanted;
  for (std::size_t l = 0; l < layers.size(); ++l) {
    const double at = layers.size() == 1 ? 0.5 : static_cast<double>(l) / static_cast<double>(layers.size() - 1);
    wanted.push_back(static_cast<double>(layers[l].low) + greatest + at * (least - greatest));
  }
  return apportion(wanted, bounds.low, bounds.high, bounds.total);
}

// The same as the smallest budgets that keep one share p of every layer's score, for the greatest p that the total
// allows, with what is left over given to the layers that are behind.
Counts prefix_budgets(const std::vector<Layer>& layers) {
  const Bounds bounds = bounds_of(layers);
  Counts budgets = bounds.low;
  std::size_t given = std::accumulate(budgets.begin(), budgets.end(), std::size_t{0});
  using Behind = std::pair<double, std::size_t>;  // a layer's share, and its number
  std::priority_queue<Behind, std::vector<Behind>, std::greater<>> behind;
  const auto enter = [&](std::size_t l) {
    if (budgets[l] < layers[l].high) behind.emplace(layers[l].shares[budgets[l] - layers[l].low], l);
  };
  for (std::size_t l = 0; l < layers.size(); ++l) enter(l);
  for (; given < bounds.total && !behind.empty(); ++given) {
    const std::size_t l = behind.top().second;
    behind.pop();
    ++budgets[l];
    enter(l);
  }
  return budgets;
}

Counts entropy_budgets(const std::vector<Layer>& layers) {
  const Bounds bounds = bounds_of(layers);
  std::vector<double> wanted;
  for (const Layer& layer : layers) wanted.push_back(layer.spread);
  return apportion(wanted, bounds.low, bounds.high, bounds.total);
}

// The number of each layer's group, from 0.
Counts groups_of(std::span<const LayerScores> layers) {
  Counts groups;
  for (const LayerScores& layer : layers)
    groups.push_back(groups.empty() ? 0 : groups.back() + (layer.follows ? 0 : 1));
  return groups;
}

// An arithmetic fall over the groups. The paper has the last one at 8 / 14 of the mean, for groups of 8.
Counts slope_budgets(const PolicySpec& policy, const Counts& groups, const std::vector<Layer>& layers) {
  constexpr double kBeta = 14;
  const Bounds bounds = bounds_of(layers);
  const double least = std::min(static_cast<double>(policy.group) / kBeta, 1.0);
  const auto last = static_cast<double>(groups.back());
  std::vector<double> wanted;
  for (std::size_t l = 0; l < layers.size(); ++l) {
    const double at = last == 0 ? 0.5 : static_cast<double>(groups[l]) / last;
    wanted.push_back((2 - least - at * 2 * (1 - least)) * static_cast<double>(layers[l].base));
  }
  return apportion(wanted, bounds.low, bounds.high, bounds.total);
}

// What was found before, on the scale of `keep`.
Counts profile_budgets(const BudgetProfile& profile, const std::vector<Layer>& layers) {
  CAIRN_CHECK(profile.shares.size() == layers.size());
  const Bounds bounds = bounds_of(layers);
  std::vector<double> wanted;
  for (std::size_t l = 0; l < layers.size(); ++l) {
    wanted.push_back(static_cast<double>(layers[l].prompt) +
                     profile.shares[l] * static_cast<double>(layers[l].counted));
  }
  return apportion(wanted, bounds.low, bounds.high, bounds.total);
}

// Layers of a group keep the same tokens, so none more than another.
void level_groups(const Counts& groups, const std::vector<Layer>& layers, Counts& budgets) {
  for (std::size_t first = 0, end = 0; first < budgets.size(); first = end) {
    std::size_t sum = 0, low = 0, high = layers[first].high;
    for (end = first; end < budgets.size() && groups[end] == groups[first]; ++end) {
      sum += budgets[end];
      low = std::max(low, layers[end].low);
      high = std::min(high, layers[end].high);
    }
    const std::size_t level = std::min(std::max(sum / (end - first), low), high);
    std::fill(budgets.begin() + static_cast<std::ptrdiff_t>(first), budgets.begin() + static_cast<std::ptrdiff_t>(end),
              level);
  }
}

}  // namespace

std::vector<Counts> budgets_of(const PolicySpec& policy, std::span<const LayerScores> layers) {
  if (layers.empty()) return {};
  std::vector<Layer> looked;
  for (const LayerScores& layer : layers) looked.push_back(look_at(policy, layer));
  const Counts groups = groups_of(layers);
  Counts by_layer;
  if (policy.profile != nullptr) {
    by_layer = profile_budgets(*policy.profile, looked);
  } else {
    switch (policy.budget) {
      case BudgetRule::kUniform:
      case BudgetRule::kAda: break;
      case BudgetRule::kGlobal: set_global_budgets(policy, layers, looked); break;
      case BudgetRule::kPyramid: by_layer = pyramid_budgets(looked); break;
      case BudgetRule::kPrefix: by_layer = prefix_budgets(looked); break;
      case BudgetRule::kEntropy: by_layer = entropy_budgets(looked); break;
      case BudgetRule::kSlope: by_layer = slope_budgets(policy, groups, looked); break;
    }
  }
  if (policy.group > 1 && !by_layer.empty()) level_groups(groups, looked, by_layer);
  std::vector<Counts> budgets;
  for (std::size_t l = 0; l < layers.size(); ++l) {
    Counts heads(layers[l].kv_heads);
    for (std::size_t head = 0; head < heads.size(); ++head) {
      heads[head] = by_layer.empty() ? looked[l].lists[policy.per_head ? head : 0] : by_layer[l];
    }
    budgets.push_back(std::move(heads));
  }
  return budgets;
}

}  // namespace cairn
