// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/tasks/task_table.h"

#include <algorithm>
#include <string>

#include "cairn/base/utf8.h"

namespace cairn::tasks {
namespace {

constexpr bool kNoRule = false, kRule = true;

constexpr Task kTasks[] = {
    {"S1", "key-value", "string", kRule, make_key_value},
    {"S2", "prefix-suffix", "string", kRule, make_prefix_suffix},
    {"S3", "multi-hop", "string", kRule, make_multi_hop},
    {"S4", "code", "semantic", kRule, make_code},
    {"S5", "qa", "semantic", kRule, make_qa},
    {"S6", "chinese-qa", "semantic", kRule, make_chinese_qa},
    {"S7", "multiple-choice", "semantic", kNoRule, make_multiple_choice},
    {"S8", "numbers", "global", kRule, make_numbers},
    {"S9", "many-shot", "global", kNoRule, make_many_shot},
    {"S10", "key-facts", "global", kRule, make_key_facts},
    {"S11", "facts-needles", "multi", kRule, make_facts_needles},
    {"S12", "code-key-value", "multi", kRule, make_code_key_value},
};

bool same(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::ranges::equal(a, b, {}, lower, lower);
}

}  // namespace

std::span<const Task> task_table() {
  return kTasks;
}

Result<const Task*> find_task(std::string_view name) {
  std::string known;
  for (const Task& task : kTasks) {
    if (same(name, task.name) || same(name, task.title)) return &task;
    known += " " + std::string(task.name) + " (" + std::string(task.title) + ")";
  }
  return fail(ErrorCode::kNotFound, "no task is called '" + printable_start(name, 40) + "'; there are:" + known);
}

}  // namespace cairn::tasks
