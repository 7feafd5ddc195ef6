// SPDX-License-Identifier: Apache-2.0
// What a run of the suite consists of: contenders, and the cells that each of them has to answer; and the counts over
// what they answered, paired with the exact cache on the same items.
//
// Values, and functions without state that may be called from any thread. What is returned owns all it says, save the
// span of answers_of(), which is part of what was given.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/codec/plan.h"
#include "cairn/eval/chat_form.h"
#include "cairn/eval/judged_engine.h"
#include "cairn/eval/session.h"
#include "cairn/eval/session_run.h"
#include "cairn/eval/statistics.h"
#include "cairn/text/tokenizer.h"

namespace cairn::eval {

// Why a contender's sessions or conditions differ from plain ones (docs/evaluation.md, "Controls").
enum class Control : std::uint8_t {
  kNone,
  kNoContext,          // the questions alone: what is answered here measures guessing
  kRandomEviction,     // the exact codec, hiding tokens at random down to another contender's bytes
  kShuffledLabels,     // S9 with labels drawn anew for every shot: nothing to learn
  kInstruction,        // S1 under a rule given once at the start
  kInstructionPinned,  // the same, and the rule may not be evicted
};
std::string_view control_name(Control control);  // "", "no context", ...

struct Contender {
  EvalRecipe recipe;
  Control control = Control::kNone;
  std::size_t judged_against = 0;  // index of the contender that answers the same sessions from the exact cache
};

struct SuiteSettings {
  std::vector<std::string> tasks;  // names of the task table
  std::vector<std::uint32_t> contexts;
  std::uint32_t sessions = 8;  // of each task and context
  std::uint32_t turns = 5;
  std::uint64_t seed = 1;
  std::shared_ptr<const ChatForm> chat{};  // null: the plain form
};

// Recipes in the order given, the first being the exact one; then the controls, if wanted: among them, for each recipe
// whose pages are smaller than the exact ones, random eviction down to the same bytes. Requires: not empty.
Result<std::vector<Contender>> contenders_of(std::span<const EvalRecipe> recipes, const PlanTarget& target,
                                             bool controls);

// One session of one contender.
struct Cell {
  std::size_t contender = 0;
  std::string task;
  std::uint32_t context = 0;
  std::uint32_t index = 0;

  bool operator==(const Cell&) const = default;
};

// All cells in report order. Controls answer fewer: see their names.
std::vector<Cell> cells_of(std::span<const Contender> contenders, const SuiteSettings& settings);

// Everything that decides the answers.
struct SuiteRunSettings {
  std::vector<Contender> contenders;
  SuiteSettings settings;
  std::map<std::string, std::vector<EvalSession>> data;  // sessions of data files, by the task name of their cells
  std::vector<Cell> cells;
  std::vector<std::string> left_out;  // "S6 at 512": what cannot be asked with this tokenizer
};

// The session of a cell, so that questions and gold answers too fit into cell.context tokens. The same for all
// contenders whose control leaves sessions alone. Errors: kInvalidArgument when a context is too small for the task.
Result<EvalSession> session_of(const Cell& cell, Control control, const SuiteSettings& settings,
                               const Tokenizer& tokenizer);

// What a report calls a contender: its recipe and, in brackets, its control.
std::string contender_label(const Contender& contender);

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

}  // namespace cairn::eval
