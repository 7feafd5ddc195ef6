// SPDX-License-Identifier: Apache-2.0
// The tasks, one maker each; see Task::make for the contract and docs/evaluation.md for the formats.
#pragma once

#include "cairn/base/result.h"
#include "cairn/eval/session.h"
#include "cairn/eval/session_spec.h"

namespace cairn {

Result<Session> make_key_value(const SessionSpec& spec);
Result<Session> make_prefix_suffix(const SessionSpec& spec);
Result<Session> make_multi_hop(const SessionSpec& spec);
Result<Session> make_code(const SessionSpec& spec);
Result<Session> make_qa(const SessionSpec& spec);
Result<Session> make_chinese_qa(const SessionSpec& spec);
Result<Session> make_multiple_choice(const SessionSpec& spec);
Result<Session> make_numbers(const SessionSpec& spec);
Result<Session> make_many_shot(const SessionSpec& spec);
Result<Session> make_key_facts(const SessionSpec& spec);
Result<Session> make_facts_needles(const SessionSpec& spec);
Result<Session> make_code_key_value(const SessionSpec& spec);

}  // namespace cairn
