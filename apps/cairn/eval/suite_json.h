// SPDX-License-Identifier: Apache-2.0
// A run of the suite as JSON: single cells for the journal, and the result.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/cairn/eval/eval_json.h"
#include "apps/cairn/eval/suite_run.h"

namespace cairn::cli {

// Names a cell within a journal.
std::string cell_key(const SuiteRunSettings& plan, const Cell& cell);

Json answered_json(const AnsweredCell& answered);
// Nothing when the JSON is not what answered_json writes.
std::optional<AnsweredCell> answered_from_json(const Json& json, const Cell& cell);

// Everything that a journal must agree on to be continued; also the head of the result.
Json suite_head(const SuiteRunSettings& plan, const Engine& engine, const std::string& model_file);

// `answers` in the order of plan.cells (docs/evaluation.md, "Result files").
Json suite_json(Json head, const SuiteRunSettings& plan, const std::vector<AnsweredCell>& answers);

}  // namespace cairn::cli
