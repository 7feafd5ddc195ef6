// SPDX-License-Identifier: Apache-2.0
#include "cairn/tune/one_threshold.h"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace cairn {
namespace {

// Error saved per byte on the way from `a` to `b`, two points of a Pareto front in its order.
double slope(const Cost& a, const Cost& b) {
  return (a.error - b.error) / static_cast<double>(b.bytes - a.bytes);
}

// Places in the choices, by ascending bytes; the slopes between neighbours descend strictly.
std::vector<std::size_t> convex_hull(std::span<const Cost> costs) {
  std::vector<std::size_t> hull;
  for (const std::size_t next : pareto_front(costs)) {
    while (hull.size() > 1) {
      const Cost& last = costs[hull.back()];
      if (slope(costs[hull[hull.size() - 2]], last) > slope(last, costs[next])) break;
      hull.pop_back();
    }
    hull.push_back(next);
  }
  return hull;
}

struct Step {
  double slope = 0;
  std::size_t unit = 0;
  std::size_t from = 0, to = 0;  // places in the unit's choices
};

}  // namespace

Result<ThresholdCodecs> one_threshold(std::span<const Unit> units, std::uint64_t max_bytes) {
  CAIRN_TRY_VOID(check_units(units));
  const std::uint64_t fewest = fewest_bytes(units);
  if (fewest > max_bytes) return nothing_fits(max_bytes, fewest);
  ThresholdCodecs result;
  std::vector<Step> steps;
  for (std::size_t u = 0; u < units.size(); ++u) {
    const std::vector<Cost> costs = costs_of(units[u]);
    const std::vector<std::size_t> hull = convex_hull(costs);
    for (std::size_t i = 1; i < hull.size(); ++i) {
      steps.push_back({slope(costs[hull[i - 1]], costs[hull[i]]), u, hull[i - 1], hull[i]});
    }
    result.plan.picks.push_back(hull.front());
  }
  std::ranges::stable_sort(steps, std::ranges::greater{}, &Step::slope);

  std::uint64_t left = max_bytes - fewest;
  bool all_fitted = true;
  for (const Step& step : steps) {
    std::size_t& pick = result.plan.picks[step.unit];
    // Past a step that did not fit there is a gap in the unit's hull; it stays where it is.
    if (pick != step.from) continue;
    const auto& choices = units[step.unit].choices;
    const std::uint64_t bytes = choices[step.to].bytes - choices[step.from].bytes;
    if (bytes <= left) {
      left -= bytes;
      pick = step.to;
    } else if (all_fitted) {
      all_fitted = false;
      result.threshold = step.slope;
      // What fractions of steps could reach: everything so far and as much of this one as there is room for.
      result.bound = total_cost(units, result.plan.picks).error - step.slope * static_cast<double>(left);
    }
  }
  result.plan.cost = total_cost(units, result.plan.picks);
  if (all_fitted) result.bound = result.plan.cost.error;
  return result;
}

}  // namespace cairn
