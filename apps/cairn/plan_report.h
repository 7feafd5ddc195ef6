// SPDX-License-Identifier: Apache-2.0
// What `cairn plan` prints.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cairn/capacity/serving_plan.h"

namespace cairn::cli {

struct PlanInputs {
  capacity::ServedModel model;
  capacity::Hardware hardware;
  double read_bytes_per_s = 0;  // of a measured machine; 0 for a preset
  capacity::Workload workload;
  capacity::Levers levers;
};

struct PlannedRow {
  std::string name;
  capacity::Levers levers;
  capacity::ServingEstimate plan;
};

nlohmann::ordered_json inputs_json(const PlanInputs& inputs);
nlohmann::ordered_json plan_json(const capacity::ServingEstimate& plan);

std::string plan_text(const PlanInputs& inputs, const capacity::ServingEstimate& plan);
// One line per row, each with its sessions per hour beside those of the first.
std::string comparison_text(const PlanInputs& inputs, const std::vector<PlannedRow>& rows);

}  // namespace cairn::cli
