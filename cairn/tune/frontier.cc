// SPDX-License-Identifier: Apache-2.0
#include "cairn/tune/frontier.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <queue>
#include <string>
#include <tuple>
#include <utility>

#include "cairn/base/check.h"

namespace cairn::tune {
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

using Options = std::vector<std::size_t>;  // one place in Frontier::options() per unit

// The plans that agree with a known one before `unit` and take `option` there, known by the best of them.
struct Deviation {
  Cost best;
  std::size_t of = 0;  // index of the known plan
  std::size_t unit = 0;
  std::size_t option = 0;
};

// Of equal errors the smaller plan, then the older one, so that the order does not depend on the queue.
struct Worse {
  bool operator()(const Deviation& a, const Deviation& b) const {
    const auto key = [](const Deviation& d) { return std::tuple(d.best.error, d.best.bytes, d.of, d.unit, d.option); };
    return key(a) > key(b);
  }
};

// Every set of plans that is not yet searched is a Deviation, and no two of them overlap. The best plan of the best set
// is therefore the next best of all; taking it out splits what is left of its set by the first unit that differs.
class Enumeration {
 public:
  Enumeration(const Frontier& frontier, std::uint64_t max_bytes) : frontier_(frontier), max_bytes_(max_bytes) {
    for (std::size_t o = 0; o < frontier.options(0).size(); ++o) push({}, 0, 0, o);
  }

  // The next plan by ascending error, or null after the last.
  const Options* next() {
    if (queue_.empty()) return nullptr;
    const Deviation from = queue_.top();
    queue_.pop();
    Options plan;
    if (from.unit > 0) plan.assign(known_[from.of].begin(), known_[from.of].begin() + std::ptrdiff_t(from.unit));
    plan.push_back(from.option);
    const std::uint64_t used = bytes_of(plan, plan.size());
    frontier_.append_options(plan.size(), *frontier_.best_rest(plan.size(), max_bytes_ - used), plan);
    known_.push_back(std::move(plan));
    cost_ = from.best;
    branch(from.unit + 1);
    return &known_.back();
  }

  Cost cost() const { return cost_; }  // of the plan that next() gave

 private:
  std::uint64_t bytes_of(std::span<const std::size_t> plan, std::size_t units) const {
    std::uint64_t bytes = 0;
    for (std::size_t u = 0; u < units; ++u) bytes += frontier_.options(u)[plan[u]].cost.bytes;
    return bytes;
  }

  void branch(std::size_t first) {
    const Options& plan = known_.back();
    for (std::size_t u = first; u < plan.size(); ++u) {
      for (std::size_t o = 0; o < frontier_.options(u).size(); ++o) {
        if (o != plan[u]) push(plan, known_.size() - 1, u, o);
      }
    }
  }

  void push(const Options& plan, std::size_t of, std::size_t unit, std::size_t option) {
    const Cost& own = frontier_.options(unit)[option].cost;
    const std::uint64_t used = bytes_of(plan, unit) + own.bytes;
    if (used > max_bytes_) return;
    const Cost* rest = frontier_.best_rest(unit + 1, max_bytes_ - used);
    if (rest == nullptr) return;
    double error = own.error + rest->error;
    for (std::size_t u = unit; u-- > 0;) error = frontier_.options(u)[plan[u]].cost.error + error;
    queue_.push({{used + rest->bytes, error}, of, unit, option});
  }

  const Frontier& frontier_;
  const std::uint64_t max_bytes_;
  std::vector<Options> known_;
  std::priority_queue<Deviation, std::vector<Deviation>, Worse> queue_;
  Cost cost_;
};

std::size_t differences(const std::vector<std::size_t>& a, const std::vector<std::size_t>& b) {
  std::size_t count = 0;
  for (std::size_t u = 0; u < a.size(); ++u) count += a[u] != b[u];
  return count;
}

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

Result<std::vector<Allocation>> best_plans(const Frontier& frontier, std::uint64_t max_bytes,
                                           const BestPlansOptions& options) {
  if (frontier.best_rest(0, max_bytes) == nullptr) return nothing_fits(max_bytes, frontier.points().front().bytes);
  std::vector<Allocation> plans;
  Enumeration enumeration(frontier, max_bytes);
  for (std::size_t tried = 0; tried < options.max_tried && plans.size() < options.count; ++tried) {
    const Options* next = enumeration.next();
    if (next == nullptr) break;
    Allocation plan{{}, enumeration.cost()};
    for (std::size_t u = 0; u < next->size(); ++u) plan.picks.push_back(frontier.options(u)[(*next)[u]].pick);
    const bool differs = std::ranges::all_of(
        plans, [&](const Allocation& other) { return differences(plan.picks, other.picks) >= options.differ_in; });
    if (differs) plans.push_back(std::move(plan));
  }
  return plans;
}

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

}  // namespace cairn::tune
