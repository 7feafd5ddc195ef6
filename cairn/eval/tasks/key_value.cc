// SPDX-License-Identifier: Apache-2.0
// S1: what is the code of a key.
#include <vector>

#include "cairn/eval/tasks/fill.h"
#include "cairn/eval/tasks/key_values.h"
#include "cairn/eval/tasks/layout.h"
#include "cairn/eval/tasks/makers.h"

namespace cairn {
namespace {

constexpr std::size_t kCommonWidths[] = {2, 2, 4, 4, 4, 4, 8, 8, 8, 16, 16, 32};
constexpr double kSameWidth = 0.7;  // share of the lines whose value is as long as most of its session

Draft draft_key_value(SeededRandom random, std::size_t lines, std::size_t turns) {
  const std::span<const std::size_t> common(kCommonWidths);
  const std::size_t usual = random.pick(common);
  std::vector<std::size_t> widths = spread_choices(kValueWidths, turns, random);
  while (widths.size() < lines) widths.push_back(random.unit() < kSameWidth ? usual : random.pick(common));
  const std::vector<KeyValue> pairs = make_key_values(widths, random);
  std::vector<TextUnit> units;
  for (const KeyValue& pair : pairs) units.push_back(unit_of(key_value_line(pair)));
  std::vector<Turn> questions;
  for (std::size_t turn = 0; turn < turns; ++turn) questions.push_back(ask_value(pairs[turn]));
  return draft_of(units, std::move(questions), random);
}

}  // namespace

Result<Session> make_key_value(const SessionSpec& spec) {
  return fill_session(spec,
                      {.task = "S1", .smallest = spec.turns, .draft = [&](SeededRandom random, std::size_t lines) {
                         return draft_key_value(random, lines, spec.turns);
                       }});
}

}  // namespace cairn
