// SPDX-License-Identifier: Apache-2.0
// The genetic half of the search: new plans from nothing or from two others, and which of a population survive.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cairn/base/random.h"
#include "cairn/tune/choice.h"

namespace cairn::tune {

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
