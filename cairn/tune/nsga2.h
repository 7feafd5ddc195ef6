// SPDX-License-Identifier: Apache-2.0
// How NSGA-II (Deb et al., 2002) compares candidates: first by how many layers of better ones lie above them, then by
// how lonely they are in their own layer, so that a population spreads along the whole front.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "cairn/tune/choice.h"

namespace cairn {

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

// The `count` fittest in order, of equally fit ones the first; all when there are not so many.
std::vector<std::size_t> fittest(std::span<const Cost> costs, std::size_t count);

}  // namespace cairn
