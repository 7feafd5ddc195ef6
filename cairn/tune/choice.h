// SPDX-License-Identifier: Apache-2.0
// What a cache's bytes are divided among: units (the K or V of a layer, or both, or those of several layers), each of
// which takes exactly one of its choices.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cairn/base/result.h"

namespace cairn::tune {

// The two things that are weighed against each other; less is better of both.
struct Cost {
  std::uint64_t bytes = 0;
  double error = 0;

  bool operator==(const Cost&) const = default;
};

// One way to store a unit. An immutable value.
struct Choice {
  std::string name;         // as a plan calls it
  std::uint64_t bytes = 0;  // of a page, a token or a sequence: the same measure in all units
  double bits = 0;          // per value, all metadata included; for people, nothing is decided by it
  double error = 0;         // finite and not negative; measured so that those of different units add up

  Cost cost() const { return {bytes, error}; }
};

// A value.
struct Unit {
  std::string name;  // for messages, as "layer 3 keys"
  std::vector<Choice> choices;
};

using Picks = std::vector<std::size_t>;  // for each unit the place of its choice in Unit::choices

// Which choice each unit takes, and what all of them cost together. A value.
struct Allocation {
  Picks picks;
  Cost cost;

  bool operator==(const Allocation&) const = default;
};

// kInvalidArgument, naming the unit and the choice: no units, a unit without choices, an error that is negative or not
// a finite number, sums that overflow.
Status check_units(std::span<const Unit> units);

// Errors are added from the last unit to the first here and everywhere in this module: sums of doubles depend on their
// order, and what one function finds least must be least to the others too. Requires: checked units and a pick for
// each.
Cost total_cost(std::span<const Unit> units, std::span<const std::size_t> picks);

// Those of `costs` that no other is as good as in both and better in one, by ascending bytes and strictly descending
// errors. Of several equal ones the first. NaN is never among them.
std::vector<std::size_t> pareto_front(std::span<const Cost> costs);

std::vector<Cost> costs_of(const Unit& unit);

// Whether `a` is as good as `b` in both and better in one.
inline bool dominates(const Cost& a, const Cost& b) {
  return a.bytes <= b.bytes && a.error <= b.error && (a.bytes < b.bytes || a.error < b.error);
}

// The Pareto front of the unit's choices, in its order.
Unit pruned(const Unit& unit);
std::vector<Unit> pruned(std::span<const Unit> units);

// Bytes of the plan that needs fewest. Requires: checked units.
std::uint64_t fewest_bytes(std::span<const Unit> units);

// kInvalidArgument: what the module was given and cannot use.
std::unexpected<Error> refuse(std::string message);

// kOutOfBudget with the least that works.
std::unexpected<Error> nothing_fits(std::uint64_t max_bytes, std::uint64_t fewest_bytes);

// KVTuner's way to a small space of plans (arXiv 2502.04420): each layer keeps the pairs of a key and a value codec
// that are on its Pareto front, and layers that behave alike take the same pair.

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
