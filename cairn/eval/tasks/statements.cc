// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/tasks/statements.h"

#include <algorithm>
#include <array>
#include <utility>

#include "cairn/eval/tasks/layout.h"

namespace cairn {

Draft draft_statements(std::vector<Statement> statements, std::size_t turns, const Ask& ask, SeededRandom& random) {
  if (random.below(2) == 0) random.shuffle(statements);
  Draft draft;
  for (const Statement& statement : statements) draft.context += statement.text;
  draft.context += "\n\n";  // ends the line of facts, then the blank line
  std::array<std::vector<std::size_t>, kFifths> fifths;
  std::size_t at = 0;
  for (const Statement& statement : statements) {
    const std::size_t middle = at + statement.text.size() / 2, size = draft.context.size();
    const std::uint32_t depth = depth_of(middle, size);
    if (safely_inside(middle, size, depth)) fifths[depth].push_back(statement.id);
    at += statement.text.size();
  }
  for (auto& fifth : fifths) random.shuffle(fifth);
  const auto is_new = [&](const Turn& turn) {
    return std::ranges::none_of(draft.turns, [&](const Turn& other) { return other.query == turn.query; });
  };
  for (const std::uint32_t depth : draw_depths(turns, random)) {
    Turn turn;
    do {
      if (fifths[depth].empty()) {
        draft.placed = false;
        break;
      }
      turn = ask(fifths[depth].back());
      fifths[depth].pop_back();
    } while (!is_new(turn));
    turn.depth = depth;
    draft.turns.push_back(std::move(turn));
  }
  return draft;
}

}  // namespace cairn
