// SPDX-License-Identifier: Apache-2.0
// How a session is laid out. Questions are stratified by depth: the turns of a session ask for all five fifths of the
// context, measured in bytes, in random order. A task says how to draft a session of a given amount of material (lines,
// facts, sentences, numbers); the largest amount that fits is searched for with the caller's tokenizer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/base/random.h"
#include "cairn/base/result.h"
#include "cairn/eval/session.h"

namespace cairn::tasks {

inline constexpr std::uint32_t kFifths = 5;

// A depth for every turn; any five in a row are all different.
std::vector<std::uint32_t> draw_depths(std::size_t turns, SeededRandom& random);

// The fifth in which byte `at` of a context of `size` bytes lies. Requires: at < size.
std::uint32_t depth_of(std::size_t at, std::size_t size);
// Whether it lies in that fifth and not at its edge, so that a few bytes more or less in the context change nothing.
bool safely_inside(std::size_t at, std::size_t size, std::uint32_t depth);

// A piece of a context that is not torn apart. `focus` is the byte of it that decides its depth.
struct TextUnit {
  std::string text;
  std::size_t focus = 0;
};
// With the focus in its middle.
TextUnit unit_of(std::string text);

// An order of the units in which unit i stands at depth wanted[i], safely inside its fifth, if that is not empty. The
// others spread evenly. One random try, which fails more often the fewer units there are.
std::optional<std::vector<std::size_t>> try_place(std::span<const TextUnit> units,
                                                  std::span<const std::optional<std::uint32_t>> wanted,
                                                  SeededRandom& random);

struct Placement {
  std::vector<std::size_t> order;     // of the units in the context
  std::vector<std::uint32_t> depths;  // of the first `turns` units, in their order
};
// Places the first `turns` units, one question each, at depths of draw_depths. Empty: too few units for that.
std::optional<Placement> place_questions(std::span<const TextUnit> units, std::size_t turns, SeededRandom& random);

inline constexpr int kPlacementTries = 400;

// The form that questions have in most tasks.
inline Turn make_turn(std::string query, std::string answer, std::vector<std::string> gold, Metric metric) {
  Turn turn;
  turn.query = std::move(query);
  turn.answer = std::move(answer);
  turn.gold = std::move(gold);
  turn.metric = metric;
  return turn;
}

// "Question: TEXT", then the answer on the line after it.
inline Turn make_question(const std::string& text, const std::string& answer, std::vector<std::string> gold,
                          Metric metric) {
  return make_turn("Question: " + text + "\nAnswer:", " " + answer + "\n", std::move(gold), metric);
}

// In a chat, the assistant's turn begins with what stands before the value in the context: only the value is judged,
// and a small model need not find the words of an answer.
inline Turn led_by(std::string lead, Turn turn) {
  turn.lead = std::move(lead);
  return turn;
}

struct Draft {
  std::string context;
  std::vector<Turn> turns;  // a task sets neither max_tokens nor the rule
  bool placed = true;       // whether every question found its depth
};

// The units in an order in which question i, which asks for unit i, has its depth; a blank line ends the context.
Draft draft_of(std::span<const TextUnit> units, std::vector<Turn> questions, SeededRandom& random);

// The same for few units, scattered among that number of sentences of prose. A newline in a unit becomes a blank.
Draft draft_in_prose(std::vector<TextUnit> units, std::size_t sentences, std::vector<Turn> questions,
                     SeededRandom& random);

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
Result<EvalSession> fill_session(const SessionSpec& spec, const Material& material);

}  // namespace cairn::tasks
