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

#include "cairn/base/random.h"
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

// The genetic half of the search: new plans from nothing or from two others, and which of a population survive.

// Makes plans. All that come out fit: too large ones are made smaller, since a plan beyond the cap tells a search
// nothing and is never measured. Requires: checked units whose choices are by ascending bytes, and that the smallest
// plan fits. Views the units. Thread-compatible.
class Breeding {
 public:
  Breeding(std::span<const Unit> units, std::uint64_t max_bytes, std::uint64_t seed)
      : units_(units), max_bytes_(max_bytes), random_(seed, "plan search") {}

  // Every plan that fits, in lexicographic order; empty when there are more than `max_plans`.
  std::vector<Picks> all_that_fit(std::size_t max_plans) const;

  // Any plan, from a band of choices of its own, so that small, large, uniform and mixed plans all come up.
  Picks anything();
  // Each pick from one parent or the other, and about one of them a step up or down.
  Picks child(const Picks& a, const Picks& b);
  // One random step up or down. Every plan that fits can be reached so.
  Picks stepped(Picks picks);
  // Random steps down until it fits.
  Picks shrunk(Picks picks);

  SeededRandom& random() { return random_; }

 private:
  std::span<const Unit> units_;
  std::uint64_t max_bytes_;
  SeededRandom random_;
};

// How NSGA-II (Deb et al., 2002) compares candidates: first by how many layers of better ones lie above them, then by
// how far their neighbours in their own layer are, so that a population spreads along the whole front.
struct Fitness {
  std::size_t rank = 0;  // 0: the Pareto front; 1: the front of the rest; ...
  double crowding = 0;   // how far the neighbours in the same rank are; infinite at both ends

  // Requires: both of one population.
  bool better_than(const Fitness& other) const {
    return rank != other.rank ? rank < other.rank : crowding > other.crowding;
  }
};

// Of each candidate among all. Equal costs share a rank; all but the first of them have no distance of their own.
// Requires: finite errors.
std::vector<Fitness> fitness(std::span<const Cost> costs);

// The `count` fittest in order, of equally fit ones the first; all when there are fewer.
std::vector<std::size_t> fittest(std::span<const Cost> costs, std::size_t count);

}  // namespace cairn::tune
