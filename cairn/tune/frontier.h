// SPDX-License-Identifier: Apache-2.0
// Every plan worth having, exactly: the least total error for each number of bytes.
//
// Dynamic programming from the last unit to the first. For the units from u on it keeps the undominated sums only,
// which is the usual table over bytes without its empty and useless cells: as exact, never longer than the span of
// bytes over their greatest common divisor, and free of a grid of error bins, onto which nothing can be clamped or
// rounded. Rounding keeps the order of sums (a <= b gives a + c <= b + c in floating point too), so the least sum that
// is found is bit for bit the least of all plans.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/tune/choice.h"

namespace cairn::tune {

// Immutable once made; thread-safe. Picks are places in the choices of the units that it was made from.
class Frontier {
 public:
  static constexpr std::size_t kMaxPoints = std::size_t{1} << 24;

  // Errors: those of check_units; kOutOfBudget when more than `max_points` partial plans would have to be held, 16
  // bytes each: bytes without a common divisor let their number double with each unit.
  static Result<Frontier> make(std::span<const Unit> units, std::size_t max_points = kMaxPoints);

  // By ascending bytes and strictly descending errors; not empty.
  std::span<const Cost> points() const { return partial_.front(); }
  // The plan of points()[point]. Requires: point < points().size().
  Allocation plan(std::size_t point) const;

  // The least error that fits; of several plans with this error the smallest. kOutOfBudget with the least that works.
  Result<Allocation> least_error(std::uint64_t max_bytes) const;
  // The fewest bytes whose error is no more than `max_error`. kInvalidArgument with the least error that can be had.
  Result<Allocation> least_bytes(double max_error) const;

  // For searches that deviate from the best plan:
  struct Option {
    Cost cost;
    std::size_t pick = 0;
  };
  std::size_t units() const { return options_.size(); }
  // What a unit can take: its Pareto front.
  std::span<const Option> options(std::size_t unit) const { return options_[unit]; }
  // The best of the units from `first` on within `max_bytes`, or null when they need more. first == units(): nothing.
  const Cost* best_rest(std::size_t first, std::uint64_t max_bytes) const;
  // Appends to `chosen` the options, as places in options(), that cost `rest`. Requires: a result of best_rest(first,
  // ).
  void append_options(std::size_t first, Cost rest, std::vector<std::size_t>& chosen) const;

 private:
  std::vector<std::vector<Option>> options_;
  std::vector<std::vector<Cost>> partial_;  // [units + 1]: undominated sums of the units from u on
};

// What best_plans() looks for: the few best plans are measured end to end, since predicted errors are sums, and at two
// bits what is measured is not.
struct BestPlansOptions {
  std::size_t count = 5;
  // Each plan differs from every other one in at least this many units: the next best are mostly the best with one
  // small change, and measuring those teaches little.
  std::size_t differ_in = 1;
  // Plans looked at before giving up on finding `count` that differ so much; each costs some kilobytes.
  std::size_t max_tried = 2000;
};

// By ascending error, beginning with that of least_error(max_bytes): with differ_in 1 exactly the `count` plans of
// least error among those that fit and take no dominated choice. Fewer when there are fewer. Errors:
// kOutOfBudget.
Result<std::vector<Allocation>> best_plans(const Frontier& frontier, std::uint64_t max_bytes,
                                           const BestPlansOptions& options = {});

// One threshold for all units, as PrefixKV uses one for all layers: each unit takes more bytes as long as a byte saves
// at least so much error. The cheap baseline of Frontier, and a bound on what any plan can reach. A value.
struct ThresholdCodecs {
  Allocation plan;
  // The error that a byte saves in the first step that did not fit; 0 when all did. Steps that save more were taken,
  // those that save less only where they filled what was left.
  double threshold = 0;
  // No plan of these bytes has less error, roundings aside. plan.cost.error exceeds it by less than what that one step
  // would have saved.
  double bound = 0;
};

// Only choices on the lower convex hull of a unit's bytes and errors are ever taken. O(n log n) in the choices.
// Errors: those of check_units; kOutOfBudget with the least that works.
Result<ThresholdCodecs> one_threshold(std::span<const Unit> units, std::uint64_t max_bytes);

}  // namespace cairn::tune
