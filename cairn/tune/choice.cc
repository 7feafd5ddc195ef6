// SPDX-License-Identifier: Apache-2.0
#include "cairn/tune/choice.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "cairn/base/check.h"

namespace cairn::tune {
namespace {

// Leaves room for a plan's bytes plus one more choice.
constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 62;

}  // namespace

Status check_units(std::span<const Unit> units) {
  if (units.empty()) return refuse("there is nothing to choose for: no units");
  std::uint64_t bytes = 0;
  double error = 0;
  for (const Unit& unit : units) {
    if (unit.choices.empty()) return refuse(unit.name + " has no choices");
    std::uint64_t max_bytes = 0;
    double worst = 0;
    for (const Choice& choice : unit.choices) {
      if (!std::isfinite(choice.error) || choice.error < 0) {
        return refuse("the error of '" + choice.name + "' for " + unit.name + " is " + std::to_string(choice.error) +
                      "; it must be a finite number and not negative");
      }
      max_bytes = std::max(max_bytes, choice.bytes);
      worst = std::max(worst, choice.error);
    }
    if (max_bytes > kMaxBytes - bytes) return refuse("the bytes of all units add up to more than 2^62");
    bytes += max_bytes;
    error += worst;
  }
  // The order of summation is the other one; an upper bound that may round differently must not be near the limit.
  if (error > std::numeric_limits<double>::max() / 2) return refuse("the errors of all units add up to infinity");
  return {};
}

Cost total_cost(std::span<const Unit> units, std::span<const std::size_t> picks) {
  CAIRN_CHECK(units.size() == picks.size());
  Cost total;
  for (std::size_t u = units.size(); u-- > 0;) {
    const Choice& choice = units[u].choices.at(picks[u]);
    total = {choice.bytes + total.bytes, choice.error + total.error};
  }
  return total;
}

std::vector<std::size_t> pareto_front(std::span<const Cost> costs) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < costs.size(); ++i) {
    if (!std::isnan(costs[i].error)) order.push_back(i);
  }
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) {
    return costs[a].bytes != costs[b].bytes ? costs[a].bytes < costs[b].bytes : costs[a].error < costs[b].error;
  });
  std::vector<std::size_t> front;
  for (const std::size_t i : order) {
    if (front.empty() || costs[i].error < costs[front.back()].error) front.push_back(i);
  }
  return front;
}

std::vector<Cost> costs_of(const Unit& unit) {
  std::vector<Cost> costs(unit.choices.size());
  std::ranges::transform(unit.choices, costs.begin(), &Choice::cost);
  return costs;
}

Unit pruned(const Unit& unit) {
  Unit kept{unit.name, {}};
  for (const std::size_t i : pareto_front(costs_of(unit))) kept.choices.push_back(unit.choices[i]);
  return kept;
}

std::vector<Unit> pruned(std::span<const Unit> units) {
  std::vector<Unit> kept(units.size());
  std::ranges::transform(units, kept.begin(), [](const Unit& unit) { return pruned(unit); });
  return kept;
}

std::uint64_t fewest_bytes(std::span<const Unit> units) {
  std::uint64_t bytes = 0;
  for (const Unit& unit : units) bytes += std::ranges::min(unit.choices, {}, &Choice::bytes).bytes;
  return bytes;
}

std::unexpected<Error> refuse(std::string message) {
  return fail(ErrorCode::kInvalidArgument, std::move(message));
}

std::unexpected<Error> nothing_fits(std::uint64_t max_bytes, std::uint64_t fewest_bytes) {
  return fail(ErrorCode::kOutOfBudget, "no plan fits into " + std::to_string(max_bytes) +
                                           " bytes; the smallest needs " + std::to_string(fewest_bytes));
}

}  // namespace cairn::tune
