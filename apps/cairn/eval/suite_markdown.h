// SPDX-License-Identifier: Apache-2.0
// A run of the suite for people: Markdown tables.
#pragma once

#include <string>
#include <vector>

#include "apps/cairn/eval/suite_run.h"

namespace cairn::cli {

std::string suite_markdown(const SuiteRunSettings& plan, const std::vector<AnsweredCell>& answers,
                           const std::string& model_name);

}  // namespace cairn::cli
