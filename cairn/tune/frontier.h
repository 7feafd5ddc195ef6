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

namespace cairn {

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

}  // namespace cairn
