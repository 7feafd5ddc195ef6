// SPDX-License-Identifier: Apache-2.0
// What the scheduler decides for one pass.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace cairn {

using RequestId = std::uint64_t;

struct BatchStep {
  struct Rows {
    RequestId id = 0;
    std::size_t count = 0;  // tokens of the request that are computed, the next ones it has
  };
  std::vector<RequestId> preempt;  // let go of their sequences, before anything else
  std::vector<RequestId> start;    // open a sequence: new, or preempted before
  std::vector<Rows> rows;          // of those that were running before this step
};

}  // namespace cairn
