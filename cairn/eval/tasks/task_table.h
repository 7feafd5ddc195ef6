// SPDX-License-Identifier: Apache-2.0
// The table of the suite's tasks and their makers. Adding one: docs/evaluation.md. The table is constant; makers have
// no state and may be called from any thread, and equal specs give equal sessions.
#pragma once

#include <span>
#include <string_view>

#include "cairn/base/result.h"
#include "cairn/eval/session.h"

namespace cairn::tasks {

struct Task {
  std::string_view name;     // "S1" ... "S12"
  std::string_view title;    // "key-value"
  std::string_view ability;  // what it needs: "string", "semantic", "global" or "multi", SCBench's four
  bool takes_rule = true;    // false where a word in front of the answer makes no sense
  // kInvalidArgument: context_tokens too small for the questions or beyond the task's material, turns out of range,
  // or a rule that the task does not take.
  Result<EvalSession> (*make)(const SessionSpec&) = nullptr;
};

// In the order of their numbers. The memory is static.
std::span<const Task> task_table();

// By name or title, whatever its case. kNotFound lists what there is.
Result<const Task*> find_task(std::string_view name);

// One maker each; see Task::make for the contract and docs/evaluation.md for the formats.
Result<EvalSession> make_key_value(const SessionSpec& spec);
Result<EvalSession> make_prefix_suffix(const SessionSpec& spec);
Result<EvalSession> make_multi_hop(const SessionSpec& spec);
Result<EvalSession> make_code(const SessionSpec& spec);
Result<EvalSession> make_qa(const SessionSpec& spec);
Result<EvalSession> make_chinese_qa(const SessionSpec& spec);
Result<EvalSession> make_multiple_choice(const SessionSpec& spec);
Result<EvalSession> make_numbers(const SessionSpec& spec);
Result<EvalSession> make_many_shot(const SessionSpec& spec);
Result<EvalSession> make_key_facts(const SessionSpec& spec);
Result<EvalSession> make_facts_needles(const SessionSpec& spec);
Result<EvalSession> make_code_key_value(const SessionSpec& spec);

}  // namespace cairn::tasks
