// SPDX-License-Identifier: Apache-2.0
// The few best plans, to be measured end to end: predicted errors are sums, and at two bits what is measured is not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/tune/choice.h"
#include "cairn/tune/frontier.h"

namespace cairn {

struct BestPlansOptions {
  std::size_t count = 5;
  // Each plan differs from every other one in at least so many units: the next best are mostly the best with one small
  // change, and measuring those teaches little.
  std::size_t differ_in = 1;
  // Plans looked at before giving up on finding `count` that differ so much; each costs some kilobytes.
  std::size_t max_tried = 2000;
};

// By ascending error, beginning with that of least_error(max_bytes): with differ_in 1 exactly the `count` plans of
// least error among those that fit and take no dominated choice. Fewer when there are not so many. Errors:
// kOutOfBudget.
Result<std::vector<Allocation>> best_plans(const Frontier& frontier, std::uint64_t max_bytes,
                                           const BestPlansOptions& options = {});

}  // namespace cairn
