// SPDX-License-Identifier: Apache-2.0
// Carries out plans: one round against one server, and the same rounds for several servers.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/load/ask.h"
#include "cairn/load/figures.h"
#include "cairn/load/workload.h"

namespace cairn::load {

struct RoundOptions {
  AskOptions ask;
  std::size_t connections = 256;  // at a time; a closed loop has as many as clients
  // Called by the caller's thread several times a second; false: stop.
  std::function<bool(std::size_t done, std::size_t total)> tick;
};

// One record per request of the plan, by conversation and turn. Conversations are sent when they are due, while
// connections are left, also when others are outstanding; then as soon as one is free. A turn that is not reached
// because one before it failed has the error "not sent". Errors: kIo when a warm-up request fails, kCancelled.
Result<std::vector<Record>> run_round(const HttpClient& client, DeadlineWatch& watch, const RoundSpec& plan,
                                      const RoundOptions& options);

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
  std::vector<std::vector<Record>> records{};  // by round
};

// The servers take turns, so that a drift of the machine meets all of them; every other round begins with the last one.
// Errors: kIo, kCancelled.
Result<std::vector<MeasuredServer>> measure(std::span<const Target> targets, DeadlineWatch& watch,
                                            const Workload& workload, const MeasureOptions& options);

}  // namespace cairn::load
