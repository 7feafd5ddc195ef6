// SPDX-License-Identifier: Apache-2.0
// The result of a run of the suite: JSON, and Markdown tables for people. `answers` stand in the order of plan.cells.
#pragma once

#include <string>
#include <vector>

#include "cairn/eval/result_json.h"
#include "cairn/eval/suite.h"

namespace cairn::eval {

// `head` with everything that a journal must agree on to be continued; also the head of the result.
Json suite_head(Json head, const SuiteRunSettings& plan);

// docs/evaluation.md, "Result files".
Json suite_json(Json head, const SuiteRunSettings& plan, const std::vector<AnsweredCell>& answers);

std::string suite_markdown(const SuiteRunSettings& plan, const std::vector<AnsweredCell>& answers,
                           const std::string& model_name);

}  // namespace cairn::eval
