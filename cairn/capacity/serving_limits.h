// SPDX-License-Identifier: Apache-2.0
// The ranges in which plan_serving gives finite numbers.
#pragma once

#include "cairn/base/result.h"
#include "cairn/capacity/serving_plan.h"

namespace cairn {

inline constexpr double kMaxConcurrency = 1e15;

// Each: kInvalidArgument, naming the number, its value and its range.
Status check_model(const ServedModel& model);
Status check_hardware(const Hardware& hardware);
Status check_workload(const Workload& workload);
Status check_levers(const Levers& levers, const ServedModel& model);

}  // namespace cairn
