// SPDX-License-Identifier: Apache-2.0
// S4: which code does what a description in other words says. S12: the same between lines of S1, by turns.
#include <vector>

#include "cairn/eval/tasks/fill.h"
#include "cairn/eval/tasks/functions.h"
#include "cairn/eval/tasks/key_values.h"
#include "cairn/eval/tasks/layout.h"
#include "cairn/eval/tasks/makers.h"

namespace cairn {
namespace {

constexpr std::size_t kMixedWidths[] = {2, 4, 8};  // digits in S12, where the functions take the room

std::vector<std::size_t> draw_lengths(std::span<const std::size_t> choices, std::size_t asked, std::size_t all,
                                      SeededRandom& random) {
  std::vector<std::size_t> lengths = spread_choices(choices, asked, random);
  while (lengths.size() < all) lengths.push_back(random.pick(choices));
  return lengths;
}

Draft draft_code(SeededRandom random, std::size_t count, std::size_t turns) {
  const std::vector<Function> functions = make_functions(draw_lengths(kBodyWords, turns, count, random), random);
  std::vector<TextUnit> units;
  for (const Function& function : functions) units.push_back(unit_of(function_lines(function)));
  std::vector<Turn> questions;
  for (std::size_t turn = 0; turn < turns; ++turn) questions.push_back(ask_function(functions, turn));
  return draft_of(units, std::move(questions), random);
}

// Two functions for three pairs, which is about as many tokens of each; the turns alternate.
Draft draft_code_key_value(SeededRandom random, std::size_t count, std::size_t turns) {
  const auto is_code = [&](std::size_t unit) { return unit < turns ? unit % 2 == 0 : unit % 5 < 2; };
  std::size_t codes = 0;
  for (std::size_t i = 0; i < count; ++i) codes += is_code(i);
  const std::size_t asked_codes = (turns + 1) / 2;
  const auto functions = make_functions(draw_lengths(kBodyWords, asked_codes, codes, random), random);
  const auto pairs = make_key_values(draw_lengths(kMixedWidths, turns / 2, count - codes, random), random);
  std::vector<TextUnit> units;
  std::vector<Turn> questions;
  for (std::size_t i = 0, function = 0, pair = 0; i < count; ++i) {
    if (is_code(i)) {
      if (i < turns) questions.push_back(ask_function(functions, function));
      units.push_back(unit_of(function_lines(functions[function++])));
    } else {
      if (i < turns) questions.push_back(ask_value(pairs[pair]));
      units.push_back(unit_of(key_value_line(pairs[pair++])));
    }
    if (i < turns) questions.back().column = is_code(i) ? "code" : "key-value";
  }
  return draft_of(units, std::move(questions), random);
}

}  // namespace

Result<Session> make_code(const SessionSpec& spec) {
  return fill_session(spec,
                      {.task = "S4", .smallest = spec.turns, .draft = [&](SeededRandom random, std::size_t functions) {
                         return draft_code(random, functions, spec.turns);
                       }});
}

Result<Session> make_code_key_value(const SessionSpec& spec) {
  return fill_session(spec,
                      {.task = "S12", .smallest = spec.turns, .draft = [&](SeededRandom random, std::size_t units) {
                         return draft_code_key_value(random, units, spec.turns);
                       }});
}

}  // namespace cairn
