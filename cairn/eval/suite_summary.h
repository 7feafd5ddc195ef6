// SPDX-License-Identifier: Apache-2.0
// Counts over the outcomes of a contender, paired with those of the exact cache on the same items, and their tables.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "cairn/eval/session_run.h"
#include "cairn/eval/statistics.h"
#include "cairn/eval/suite.h"

namespace cairn::eval {

// An answered cell: its session says what was asked, its outcome what came.
struct AnsweredCell {
  Cell cell;
  std::vector<std::string> columns;   // by turn
  std::vector<std::uint32_t> depths;  // by turn
  SessionOutcome outcome;
};

struct GroupKey {
  std::string task, column;
  Mode mode = Mode::kMultiTurn;
  std::uint32_t context = 0;
  std::optional<std::uint32_t> turn, depth;  // one of them; both empty: over all of them

  auto operator<=>(const GroupKey&) const = default;
};

struct GroupCounts {
  std::size_t items = 0, correct = 0;
  std::size_t exact_correct = 0;  // items that the exact cache answers
  std::size_t retained = 0;       // of these, still answered
  std::size_t lost = 0, won = 0;  // paired flips: right to wrong, wrong to right
  std::size_t cap_hits = 0, answer_tokens = 0, obeyed = 0;
  double score = 0;  // sum

  double mean_score() const { return items == 0 ? 0 : score / static_cast<double>(items); }
  Estimate accuracy() const { return wilson(correct, items); }
  Estimate retained_accuracy() const { return wilson(retained, exact_correct); }
  GroupCounts& operator+=(const GroupCounts& other);
};

// The answers of one contender, which stand together in report order.
std::span<const AnsweredCell> answers_of(std::span<const AnsweredCell> answers, std::size_t contender);

// Mean over the sessions that had a context; zeros if none had.
CacheCost mean_cost(std::span<const AnsweredCell> answers);

// Groups by turn, by depth and over both. `exact` holds the same cells as the exact cache answered them, in any order;
// items without a partner there count as not answered.
std::map<GroupKey, GroupCounts> summarise_cells(std::span<const AnsweredCell> judged,
                                                std::span<const AnsweredCell> exact);

// A run for people: Markdown tables. `answers` in the order of plan.cells.
std::string suite_markdown(const SuiteRunSettings& plan, const std::vector<AnsweredCell>& answers,
                           const std::string& model_name);

}  // namespace cairn::eval
