// SPDX-License-Identifier: Apache-2.0
// Every figure of every file, including those that the comparison above them leaves out.
#pragma once

#include <string>

#include "apps/cairn/eval/report_groups.h"

namespace cairn {

std::string kld_listing(const ModelGroup& group);    // a table for each file; empty where there is none
std::string suite_listing(const ModelGroup& group);  // a table for each recipe of each file, folded until opened

}  // namespace cairn
