// SPDX-License-Identifier: Apache-2.0
// A codec for the keys and one for the values of each layer of a model, under a cap: units and plans are measured here,
// and cairn/tune chooses among them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/codec/plan.h"
#include "cairn/engine/engine.h"
#include "cairn/tune/tuner.h"

namespace cairn::eval {

struct PlanTuning {
  std::vector<std::string> candidates;  // names of codecs
  std::string codebooks;                // a file for those that need them; may be empty
  tune::TuneMethod method = tune::TuneMethod::kExact;
  double max_bits = 0;          // true bits per value that the plan may take; 0: no cap
  double max_kl = 0;            // mean KL that it may cause, fewest bytes then; 0: none; of kExact
  std::size_t prompts = 6;      // windows that units, and plans of a search, are measured on
  std::size_t validation = 16;  // windows after those that the last choice is measured on
  std::uint32_t context = 512;  // tokens of a window
  std::size_t validated = 6;    // plans measured end to end under kExact
  std::size_t judged = 60;      // the same under kSearch
  std::uint64_t seed = 1;
  std::uint64_t kv_budget_bytes = std::uint64_t{2} << 30;  // of each judged cache
};

struct PlanTuningControl {
  // What is being measured, and how far: stages follow each other, each from 0 to 1.
  std::function<void(std::string_view stage, double share)> on_progress = [](std::string_view, double) {};
  const std::atomic<bool>* cancel = nullptr;
};

// A plan that was measured end to end on the validation windows.
struct MeasuredPlan {
  std::string name;  // "uniform tok4", "one threshold", "dynamic programming 2", ...
  CodecPlan plan;
  double bits = 0;  // true
  std::uint64_t block_bytes = 0;
  std::optional<double> predicted_kl;
  double measured_kl = 0;
};

struct TunedPlans {
  std::vector<MeasuredPlan> plans;  // what was found, then every candidate used throughout, for comparison
  std::size_t best = 0;             // of what was found: the least KL, or under a cap on KL the fewest bytes
};

// `tokens` are a text: its first windows are measured on, and those after them judge what comes of that, so that a plan
// is not praised for what it was chosen by. Deterministic. Errors: kInvalidArgument when the text is too short; those
// of make_plan, of measuring and of the search; kNotFound when no plan came within max_kl; kCancelled.
Result<TunedPlans> tune_plan(const Engine& engine, std::span<const TokenId> tokens, const PlanTuning& tuning,
                             const PlanTuningControl& control = {});

}  // namespace cairn::eval
