// SPDX-License-Identifier: Apache-2.0
// From the errors of units to a plan: how much each unit matters, which plans are worth a measurement, and the choice
// among those that were measured.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/tune/choice.h"

namespace cairn::tune {

// One unit takes a choice, and all others lose nothing.
struct Probe {
  std::size_t unit = 0;
  std::size_t choice = 0;

  bool operator==(const Probe&) const = default;
};

// What a plan does to a model, measured by the caller: losses are finite, not negative and of one kind, as mean KL
// divergences. An error ends the tuning.
class LossMeter {
 public:
  virtual ~LossMeter() = default;

  // The loss of each probe, as many as there are probes.
  virtual Result<std::vector<double>> probe_losses(std::span<const Probe> probes) = 0;
  // The loss of a plan, on the data that probes are measured on.
  virtual Result<double> loss(const Picks& plan) = 0;
  // The loss of each plan on other data, so that a plan is not praised for what it was chosen by.
  virtual Result<std::vector<double>> validated_losses(std::span<const Picks> plans) = 0;
};

enum class TuneMethod : std::uint8_t {
  kExact,   // predicted losses are added up, and the best sums are found exactly
  kSearch,  // KVTuner: pairs of choices per layer, layers in clusters, plans measured one by one
};

struct TunerOptions {
  TuneMethod method = TuneMethod::kExact;
  std::uint64_t max_bytes = std::numeric_limits<std::uint64_t>::max();
  double max_loss = 0;        // of kExact: the fewest bytes within it; 0: no such cap
  std::size_t validated = 6;  // plans of each method that are measured in the end
  std::size_t judged = 60;    // plans that kSearch may measure
  std::uint64_t seed = 1;     // of kSearch
};

// A value.
struct TunedPlan {
  std::string name;  // "dynamic programming 1", "one threshold", "predicted 0.00100", "search 1", "uniform tok4"
  Picks picks;
  Cost predicted;
  double loss = 0;  // validated
};

struct Tuned {
  std::vector<TunedPlan> plans;  // what was found, then every choice used throughout, for comparison; no two are equal
  std::size_t best = 0;          // of what was found: the least loss, or within a cap on the loss the fewest bytes
  bool within_max_loss = true;   // false: no plan that was found is, and `best` is the closest
};

// `units` are the K and V of each layer in the order of LayerSlot, all with the same choices in the same order; their
// errors are relative ones, whose scale may differ from unit to unit. A unit's errors are scaled by what its choice
// with the greatest error costs the model, which gives predicted losses. Deterministic. Errors: those of check_units,
// of search_plans and of the meter; kInvalidArgument when units do not come in pairs or have different choices;
// kOutOfBudget with the least that works.
Result<Tuned> tune_units(std::vector<Unit> units, LossMeter& meter, const TunerOptions& options);

}  // namespace cairn::tune
