// SPDX-License-Identifier: Apache-2.0
// The options of `cairn tune plan`, and what they come to on a model: measurements by cairn/eval, choices by
// cairn/tune.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/cairn/model_options.h"
#include "cairn/base/result.h"
#include "cairn/codec/plan.h"

namespace cairn::cli {

struct TuneOptions {
  ModelOptions model;
  std::string text;
  std::string out;
  std::vector<std::string> candidates;
  std::string codebooks;
  std::string method = "dp";    // or "search"
  double bits = 0;              // true bits per value that the plan may take; 0: no cap
  double kl = 0;                // mean KL that it may cause, fewest bytes then; 0: none
  std::size_t prompts = 6;      // windows that units, and plans of a search, are measured on
  std::size_t validation = 16;  // windows after those that the last choice is measured on
  std::uint32_t context = 512;
  std::size_t validated = 6;  // plans measured end to end under "dp"
  std::size_t judged = 60;    // the same under "search"
  std::uint64_t seed = 1;
  bool json = false;
};

// A plan that was measured end to end on the validation windows.
struct MeasuredPoint {
  std::string name;  // "uniform tok4", "one threshold", "dynamic programming 2", ...
  CodecPlan plan;
  double bits = 0;  // true
  std::uint64_t block_bytes = 0;
  std::optional<double> predicted_kl;
  double measured_kl = 0;
};

struct TuneResult {
  std::vector<MeasuredPoint> plans;  // what was found, then every candidate used throughout, for comparison
  std::size_t best = 0;              // of what was found: the least KL, or under a cap on KL the fewest bytes
  Digest model;
  std::string calibration;
};

// Errors: those of loading, of measuring and of the search; kCancelled.
Result<TuneResult> tune_plan(const TuneOptions& options);

}  // namespace cairn::cli
