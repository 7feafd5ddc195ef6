// SPDX-License-Identifier: Apache-2.0
#include "cairn/tune/frontier.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <string>

#include "cairn/base/check.h"

namespace cairn {
namespace {

bool comes_first(const Cost& a, const Cost& b) {
  return a.bytes != b.bytes ? a.bytes < b.bytes : a.error < b.error;
}

Cost sum(const Cost& a, const Cost& b) {
  return {a.bytes + b.bytes, a.error + b.error};
}

std::vector<Frontier::Option> options_of(const Unit& unit) {
  const std::vector<Cost> costs = costs_of(unit);
  std::vector<Frontier::Option> options;
  for (const std::size_t i : pareto_front(costs)) options.push_back({costs[i], i});
  return options;
}

// Both sorted by bytes, and so is the result, without what is dominated.
std::vector<Cost> merge_undominated(std::span<const Cost> a, std::span<const Cost> b) {
  std::vector<Cost> merged;
  merged.reserve(a.size() + b.size());
  std::ranges::merge(a, b, std::back_inserter(merged), comes_first);
  std::size_t kept = 0;
  for (const Cost& cost : merged) {
    if (kept == 0 || cost.error < merged[kept - 1].error) merged[kept++] = cost;
  }
  merged.resize(kept);
  return merged;
}

std::string precise(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.17g", value);
  return text;
}

}  // namespace

Result<Frontier> Frontier::make(std::span<const Unit> units, std::size_t max_points) {
  CAIRN_TRY_VOID(check_units(units));
  Frontier frontier;
  for (const Unit& unit : units) frontier.options_.push_back(options_of(unit));
  frontier.partial_.resize(units.size() + 1);
  frontier.partial_.back() = {Cost{}};
  std::size_t held = 1;
  std::vector<Cost> shifted;
  for (std::size_t u = units.size(); u-- > 0;) {
    std::vector<Cost>& points = frontier.partial_[u];
    const std::vector<Cost>& rest = frontier.partial_[u + 1];
    for (const Option& option : frontier.options_[u]) {
      shifted.clear();
      for (const Cost& cost : rest) shifted.push_back(sum(option.cost, cost));
      points = merge_undominated(points, shifted);
      if (held + points.size() > max_points) {
        return fail(ErrorCode::kOutOfBudget,
                    "the exact search would hold more than " + std::to_string(max_points) +
                        " partial plans; fewer choices, or bytes in larger steps, keep it small");
      }
    }
    held += points.size();
    points.shrink_to_fit();
  }
  return frontier;
}

const Cost* Frontier::best_rest(std::size_t first, std::uint64_t max_bytes) const {
  const std::vector<Cost>& points = partial_[first];
  const auto beyond = std::ranges::upper_bound(points, max_bytes, {}, &Cost::bytes);
  return beyond == points.begin() ? nullptr : &*std::prev(beyond);
}

void Frontier::append_options(std::size_t first, Cost rest, std::vector<std::size_t>& chosen) const {
  for (std::size_t u = first; u < units(); ++u) {
    bool found = false;
    for (std::size_t o = 0; o < options_[u].size() && !found; ++o) {
      const Cost& cost = options_[u][o].cost;
      if (cost.bytes > rest.bytes) break;
      const Cost* after = best_rest(u + 1, rest.bytes - cost.bytes);
      if (after == nullptr || sum(cost, *after) != rest) continue;
      chosen.push_back(o);
      rest = *after;
      found = true;
    }
    CAIRN_CHECK(found);
  }
}

Allocation Frontier::plan(std::size_t point) const {
  CAIRN_CHECK(point < points().size());
  Allocation plan{{}, points()[point]};
  append_options(0, plan.cost, plan.picks);
  for (std::size_t u = 0; u < units(); ++u) plan.picks[u] = options_[u][plan.picks[u]].pick;
  return plan;
}

Result<Allocation> Frontier::least_error(std::uint64_t max_bytes) const {
  const Cost* best = best_rest(0, max_bytes);
  if (best == nullptr) return nothing_fits(max_bytes, points().front().bytes);
  return plan(static_cast<std::size_t>(best - points().data()));
}

Result<Allocation> Frontier::least_bytes(double max_error) const {
  if (std::isnan(max_error)) return fail(ErrorCode::kInvalidArgument, "the most error allowed is not a number");
  const auto good = std::ranges::find_if(points(), [&](const Cost& cost) { return cost.error <= max_error; });
  if (good == points().end()) {
    return fail(ErrorCode::kInvalidArgument, "no plan has an error of " + precise(max_error) +
                                                 " or less; the best has " + precise(points().back().error));
  }
  return plan(static_cast<std::size_t>(good - points().begin()));
}

}  // namespace cairn
