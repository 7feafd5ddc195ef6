// SPDX-License-Identifier: Apache-2.0
// What every result file of `cairn eval` says in the same words (docs/evaluation.md, "Result files").
#pragma once

#include <string>
#include <string_view>

#include "cairn/engine/engine.h"
#include "cairn/eval/json_fields.h"
#include "cairn/eval/statistics.h"

namespace cairn::cli {

using eval::Json;
using eval::parse_json;

// {"format", "version", "commit", "model": {...}}
Json result_head(std::string_view format, const Engine& engine, const std::string& file);
Json estimate_json(const Estimate& estimate);  // {"value", "low", "high"}
std::string dump_json(const Json& json);       // indented, ends with a newline; bytes that are no UTF-8 are replaced

// "1.234 [1.2, 1.3]" for tables.
std::string format_estimate(const Estimate& estimate, int digits);

}  // namespace cairn::cli
