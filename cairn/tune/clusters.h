// SPDX-License-Identifier: Apache-2.0
// KVTuner's way to a small space of plans (arXiv 2502.04420): each layer keeps the pairs of a key and a value codec
// that are on its Pareto front, and layers that behave alike take the same pair.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/tune/choice.h"

namespace cairn::tune {

// One unit of a layer's two: every pair of choices, named "keys/values", at [k * values + v]. `errors`, in this order,
// are those of both sides at once, so that nothing is assumed to add up within a layer; empty: the sums of the sides'.
// Errors: kInvalidArgument when the number of errors is another.
Result<Unit> pair_unit(const Unit& keys, const Unit& values, std::span<const double> errors = {});

struct ClusterOptions {
  // Two units are neighbours when no choice's error in one is more than this many times that in the other.
  double factor = 1.5;
  // A unit with this many neighbours, itself among them, belongs to the core of a cluster. With 1 or 2, clusters are
  // all that is connected.
  std::size_t core_neighbours = 2;
};

struct Cluster {
  std::vector<std::size_t> members;  // ascending
  Unit unit;                         // the members' choices, costs summed: a pick for it is a pick for each of them
};

// Density clustering (DBSCAN) among units that have choices of the same names in the same order; what is near no core
// stands alone. A unit at the rim of several clusters goes to the nearest core. By first member; every unit is in
// exactly one cluster. Units should be pruned() first. Errors: those of check_units; kInvalidArgument for a factor that
// is not a number of 1 or more.
Result<std::vector<Cluster>> cluster_units(std::span<const Unit> units, const ClusterOptions& options = {});

// Picks for the units behind the clusters. Requires: a pick for each cluster.
std::vector<std::size_t> member_picks(std::span<const Cluster> clusters, std::span<const std::size_t> picks);

}  // namespace cairn::tune
