// SPDX-License-Identifier: Apache-2.0
// Accuracy by turn and by depth: a row of small panels per recipe, a column per mode.
#pragma once

#include <string>

#include "apps/cairn/eval/report_groups.h"

namespace cairn {

// A whole <svg>; empty where the group has no suite.
std::string lines_svg(const std::string& id, const ModelGroup& group);

}  // namespace cairn
