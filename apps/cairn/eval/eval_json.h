// SPDX-License-Identifier: Apache-2.0
// What every result file of `cairn eval` says in the same words (docs/evaluation.md, "Result files").
#pragma once

#include <string>
#include <string_view>

#include "cairn/engine/engine.h"
#include "cairn/eval/result_json.h"
#include "cairn/eval/statistics.h"

namespace cairn::cli {

using eval::dump_json;
using eval::estimate_json;
using eval::Json;

// {"format", "version", "commit", "model": {...}}
Json result_head(std::string_view format, const Engine& engine, const std::string& file);

// "1.234 [1.2, 1.3]" for tables.
std::string format_estimate(const Estimate& estimate, int digits);

}  // namespace cairn::cli
