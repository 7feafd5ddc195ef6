// SPDX-License-Identifier: Apache-2.0
// The same rounds for several servers, in turns, so that what drifts on the machine meets all of them.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/load/round_summary.h"
#include "cairn/load/run_round.h"
#include "cairn/load/workload.h"

namespace cairn {

struct MeasureOptions {
  std::size_t rounds = 3;
  std::string salt;  // prompts of different salts share no beginning
  RoundOptions run;  // its tick is not used
  LatencyTarget slo;
  std::function<bool(double fraction)> progress;  // false: stop
};

struct MeasuredServer {
  std::string name, model;
  std::vector<RoundSummary> rounds{};
  std::vector<std::vector<LoadRecord>> records{};  // by round
};

// Every other round begins with the last server. Errors: kIo, kCancelled.
Result<std::vector<MeasuredServer>> measure(std::span<const LoadTarget> targets, DeadlineWatch& watch,
                                            const LoadWorkload& workload, const MeasureOptions& options);

}  // namespace cairn
