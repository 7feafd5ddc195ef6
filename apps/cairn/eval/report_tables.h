// SPDX-License-Identifier: Apache-2.0
// The tables at the head of the report: what was run, the summary by recipe, and what is retained by task.
#pragma once

#include <string>

#include "apps/cairn/eval/report_groups.h"

namespace cairn {

std::string runs_table(const ModelGroup& group);
std::string summary_table(const ModelGroup& group);
std::string heat_tables(const ModelGroup& group);  // one for each mode; empty where the group has no suite

}  // namespace cairn
