// SPDX-License-Identifier: Apache-2.0
// Cells of the suite added up.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "apps/cairn/eval/report_data.h"

namespace cairn {

struct Tally {
  std::uint64_t items = 0, right = 0;
  std::uint64_t retained_items = 0, retained_kept = 0;
  std::uint64_t lost = 0, won = 0, cap_hits = 0;
  double score_sum = 0, answer_token_sum = 0;

  void add(const SuiteCell& cell);
  // Wilson's intervals; nothing where there are no items.
  std::optional<Estimate> accuracy() const;
  std::optional<Estimate> retained() const;
  std::optional<double> score() const;
  std::optional<double> answer_tokens() const;
};

Tally tally_if(const std::vector<SuiteCell>& cells, const std::function<bool(const SuiteCell&)>& wanted);

// SCBench's headline: the questions that come after the first, against a cache that was compressed before any of them.
bool is_late_turn(const SuiteCell& cell);
bool is_headline(const SuiteCell& cell);

// "S2" before "S10", then by the columns' names.
struct TaskColumn {
  std::string task, column;
  std::string label() const { return column.empty() ? task : task + " " + column; }
  bool operator==(const TaskColumn& other) const = default;
  bool operator<(const TaskColumn& other) const;
};

}  // namespace cairn
