// SPDX-License-Identifier: Apache-2.0
// Recipes as points: what they hold against how well they do, with the Pareto front.
#pragma once

#include <string>
#include <vector>

#include "cairn/eval/statistics.h"

namespace cairn {

struct ScatterPoint {
  std::string name;   // the label
  std::string title;  // all figures, on hover
  double bytes = 0;
  Estimate y;
  bool control = false;  // drawn hollow, never on the front
};

enum class ScatterScale {
  kDivergence,  // logarithmic, less is better; what is zero goes in a band of its own
  kShare,       // linear in per cent, more is better
};

struct ScatterSpec {
  std::string id, title, description, y_title;
  ScatterScale scale = ScatterScale::kDivergence;
  std::vector<ScatterPoint> points;  // not empty
};

// A whole <svg>. A point that holds no bytes has no place on the logarithmic axis and becomes a dashed level.
std::string scatter_svg(const ScatterSpec& spec);

}  // namespace cairn
