// SPDX-License-Identifier: Apache-2.0
// The search for plans by what they do end to end (KVTuner, arXiv 2502.04420): each candidate is measured by the
// caller, which may take minutes, so none is measured twice and none that does not fit is measured at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/tune/choice.h"

namespace cairn::tune {

// The measured loss of a plan, a finite number; less is better. Any error ends the search.
using Judge = std::function<Result<double>(std::span<const std::size_t> picks)>;

struct SearchOptions {
  std::uint64_t max_bytes = std::numeric_limits<std::uint64_t>::max();
  // Calls of the judge. When there are no more plans that fit, all of them are judged; else NSGA-II looks for the best.
  std::size_t max_judged = 100;
  std::size_t population = 24;  // of NSGA-II; at least 4
  std::uint64_t seed = 1;
  // Picks to begin with, as those that Frontier predicts to be good; what does not fit is made smaller.
  std::vector<std::vector<std::size_t>> first = {};
};

struct SearchResult {
  std::vector<Allocation> judged;  // in order; cost.error is the loss
  std::vector<std::size_t> front;  // the Pareto front of `judged`: by ascending bytes and strictly descending loss
  bool exhaustive = false;         // `judged` are all plans that fit
  bool cancelled = false;          // the judge said kCancelled after at least one plan
};

// Bytes against loss over one choice per unit. Deterministic: the same units, options and losses give the same calls in
// the same order, on every machine. The smallest plan is always among the judged. Errors: those of check_units;
// kInvalidArgument when a unit's choices are not by strictly ascending bytes (see pruned()), options make no sense or
// a loss is not finite; kOutOfBudget with the least that works; those of the judge, except for kCancelled after the
// first plan.
Result<SearchResult> search_plans(std::span<const Unit> units, const Judge& judge, const SearchOptions& options);

}  // namespace cairn::tune
