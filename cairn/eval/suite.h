// SPDX-License-Identifier: Apache-2.0
// What a run of the suite consists of: contenders, and the cells that each of them has to answer.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/codec/plan.h"
#include "cairn/eval/recipe.h"
#include "cairn/eval/session.h"
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
  std::map<std::string, std::vector<Session>> data;  // sessions of data files, by the task name of their cells
  std::vector<Cell> cells;
  std::vector<std::string> left_out;  // "S6 at 512": what cannot be asked with this tokenizer
};

// The session of a cell, so that questions and gold answers too fit into cell.context tokens. The same for all
// contenders whose control leaves sessions alone. Errors: kInvalidArgument when a context is too small for the task.
Result<Session> session_of(const Cell& cell, Control control, const SuiteSettings& settings,
                           const Tokenizer& tokenizer);

}  // namespace cairn::eval
