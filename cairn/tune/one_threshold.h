// SPDX-License-Identifier: Apache-2.0
// One threshold for all units, as PrefixKV uses one for all layers: each unit takes more bytes as long as a byte saves
// at least so much error. The cheap baseline of Frontier, and a bound on what any plan can reach.
#pragma once

#include <cstdint>
#include <span>

#include "cairn/base/result.h"
#include "cairn/tune/choice.h"

namespace cairn {

// A value.
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

}  // namespace cairn
