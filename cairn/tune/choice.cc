// SPDX-License-Identifier: Apache-2.0
#include "cairn/tune/choice.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <utility>

#include "cairn/base/check.h"

namespace cairn::tune {
namespace {

// Leaves room for a plan's bytes plus one more choice.
constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 62;

constexpr double kFar = std::numeric_limits<double>::infinity();
constexpr std::size_t kNone = static_cast<std::size_t>(-1);

// The greatest ratio of two errors of the same choice. Zeros are alike among themselves and like nothing else.
double ratio(const Unit& a, const Unit& b) {
  if (!std::ranges::equal(a.choices, b.choices, {}, &Choice::name, &Choice::name)) return kFar;
  double max_value = 1;
  for (std::size_t c = 0; c < a.choices.size(); ++c) {
    const auto [low, high] = std::minmax(a.choices[c].error, b.choices[c].error);
    if (high > 0) max_value = std::max(max_value, low > 0 ? high / low : kFar);
  }
  return max_value;
}

class Density {
 public:
  Density(std::span<const Unit> units, const ClusterOptions& options) : units_(units), factor_(options.factor) {
    for (std::size_t u = 0; u < units.size(); ++u) {
      core_.push_back(neighbours(u).size() >= options.core_neighbours);
    }
  }

  // The cluster of each unit, as the index of one of its members.
  std::vector<std::size_t> labels() const {
    std::vector<std::size_t> labels(units_.size(), kNone);
    for (std::size_t u = 0; u < units_.size(); ++u) {
      if (core_[u] && labels[u] == kNone) spread(u, labels);
    }
    const std::vector<std::size_t> of_cores = labels;
    for (std::size_t u = 0; u < units_.size(); ++u) {
      if (core_[u]) continue;
      const std::size_t core = nearest_core(u);
      labels[u] = core == kNone ? u : of_cores[core];
    }
    return labels;
  }

 private:
  std::vector<std::size_t> neighbours(std::size_t unit) const {
    std::vector<std::size_t> found;
    for (std::size_t u = 0; u < units_.size(); ++u) {
      if (near(ratio(units_[unit], units_[u]))) found.push_back(u);
    }
    return found;
  }

  // An infinite ratio is never near, not even to an infinite factor: it stands for other choices.
  bool near(double ratio) const { return ratio <= factor_ && ratio < kFar; }

  void spread(std::size_t label, std::vector<std::size_t>& labels) const {
    std::vector<std::size_t> reached = {label};
    labels[label] = label;
    while (!reached.empty()) {
      const std::size_t from = reached.back();
      reached.pop_back();
      for (const std::size_t u : neighbours(from)) {
        if (!core_[u] || labels[u] != kNone) continue;
        labels[u] = label;
        reached.push_back(u);
      }
    }
  }

  std::size_t nearest_core(std::size_t unit) const {
    std::size_t nearest = kNone;
    double least = kFar;
    for (std::size_t u = 0; u < units_.size(); ++u) {
      if (!core_[u]) continue;
      const double distance = ratio(units_[unit], units_[u]);
      if (!near(distance) || distance >= least) continue;
      nearest = u;
      least = distance;
    }
    return nearest;
  }

  std::span<const Unit> units_;
  double factor_;
  std::vector<bool> core_;
};

void add_member(Cluster& cluster, std::size_t index, const Unit& member) {
  const bool first = cluster.members.empty();
  cluster.members.push_back(index);
  if (first) {
    cluster.unit = member;
    return;
  }
  cluster.unit.name += ", " + member.name;
  const auto count = static_cast<double>(cluster.members.size());
  for (std::size_t c = 0; c < member.choices.size(); ++c) {
    Choice& sum = cluster.unit.choices[c];
    sum.bytes += member.choices[c].bytes;
    sum.bits += (member.choices[c].bits - sum.bits) / count;
    sum.error += member.choices[c].error;
  }
}

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

Result<Unit> pair_unit(const Unit& keys, const Unit& values, std::span<const double> errors) {
  const std::size_t pairs = keys.choices.size() * values.choices.size();
  if (!errors.empty() && errors.size() != pairs) {
    return fail(ErrorCode::kInvalidArgument, "there are " + std::to_string(errors.size()) + " errors for " +
                                                 std::to_string(pairs) + " pairs of " + keys.name + " and " +
                                                 values.name);
  }
  Unit unit{keys.name + " and " + values.name, {}};
  for (const Choice& k : keys.choices) {
    for (const Choice& v : values.choices) {
      const double error = errors.empty() ? k.error + v.error : errors[unit.choices.size()];
      unit.choices.push_back({k.name + "/" + v.name, k.bytes + v.bytes, (k.bits + v.bits) / 2, error});
    }
  }
  return unit;
}

Result<std::vector<Cluster>> cluster_units(std::span<const Unit> units, const ClusterOptions& options) {
  CAIRN_TRY_VOID(check_units(units));
  if (!(options.factor >= 1)) {
    return fail(ErrorCode::kInvalidArgument,
                "the factor between errors of neighbours must be 1 or more, not " + std::to_string(options.factor));
  }
  const std::vector<std::size_t> labels = Density(units, options).labels();
  std::vector<std::size_t> place(units.size(), kNone);  // in `clusters`, of each label
  std::vector<Cluster> clusters;
  for (std::size_t u = 0; u < units.size(); ++u) {
    std::size_t& at = place[labels[u]];
    if (at == kNone) {
      at = clusters.size();
      clusters.emplace_back();
    }
    add_member(clusters[at], u, units[u]);
  }
  return clusters;
}

std::vector<std::size_t> member_picks(std::span<const Cluster> clusters, std::span<const std::size_t> picks) {
  CAIRN_CHECK(clusters.size() == picks.size());
  std::size_t units = 0;
  for (const Cluster& cluster : clusters) units += cluster.members.size();
  std::vector<std::size_t> of_units(units);
  for (std::size_t c = 0; c < clusters.size(); ++c) {
    for (const std::size_t member : clusters[c].members) of_units.at(member) = picks[c];
  }
  return of_units;
}

}  // namespace cairn::tune
