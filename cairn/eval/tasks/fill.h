// SPDX-License-Identifier: Apache-2.0
// Makes a session as long as it may be. A task says how to draft a session of a given amount of material (lines, facts,
// sentences, numbers); the largest amount that fits is searched for with the caller's tokenizer.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/random.h"
#include "cairn/base/result.h"
#include "cairn/eval/session.h"
#include "cairn/eval/session_spec.h"
#include "cairn/eval/tasks/layout.h"

namespace cairn {

struct Draft {
  std::string context;
  std::vector<Turn> turns;  // max_tokens and the rule are not a task's affair
  bool placed = true;       // whether every question found its depth
};

// The units in an order in which question i, which asks for unit i, has its depth; a blank line ends the context.
Draft draft_of(std::span<const TextUnit> units, std::vector<Turn> questions, SeededRandom& random);

struct Material {
  std::string_view task;          // "S1"
  std::size_t smallest = 1;       // amount that the questions need
  std::size_t largest = 200'000;  // amount that there is
  bool has_instruction = true;    // false: the context speaks for itself, and no rule is taken
  bool takes_rule = true;
  // Gets the same random numbers for every amount. Drafts should grow with the amount.
  std::function<Draft(SeededRandom random, std::size_t amount)> draft;
};

// kInvalidArgument as Task::make.
Result<Session> fill_session(const SessionSpec& spec, const Material& material);

}  // namespace cairn
