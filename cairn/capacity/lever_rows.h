// SPDX-License-Identifier: Apache-2.0
// The rows of a comparison: nothing changed, each lever alone, all together.
#pragma once

#include <string>
#include <vector>

#include "cairn/capacity/serving_plan.h"

namespace cairn {

struct LeverRow {
  std::string name;  // "baseline", "4.5 bits", ..., "all together"
  Levers levers;
};

// The baseline alone when `levers` changes nothing; no "all together" for a single lever.
std::vector<LeverRow> lever_rows(const Levers& levers);

}  // namespace cairn
