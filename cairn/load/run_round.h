// SPDX-License-Identifier: Apache-2.0
// Carries out a plan against one server.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/load/ask.h"
#include "cairn/load/round_plan.h"

namespace cairn {

struct RoundOptions {
  AskOptions ask;
  std::size_t connections = 256;  // at a time; those who ask all at once have as many as they need
  // Called by the caller's thread several times a second; false: stop.
  std::function<bool(std::size_t done, std::size_t total)> tick;
};

// One record per request of the plan, by conversation and turn. Conversations are sent when they are due, whatever is
// outstanding, while connections are left; then as soon as one is free. A turn that is not reached because one before
// it failed has the error "not sent". Errors: kIo when a warm-up request fails, kCancelled.
Result<std::vector<LoadRecord>> run_round(const HttpClient& client, DeadlineWatch& watch, const RoundSpec& plan,
                                          const RoundOptions& options);

}  // namespace cairn
