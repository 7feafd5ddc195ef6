// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/tasks/statements.h"

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
  for (const std::uint32_t depth : draw_depths(turns, random)) {
    draft.turns.emplace_back();
    if (fifths[depth].empty()) {
      draft.placed = false;
      continue;
    }
    draft.turns.back() = ask(fifths[depth].back());
    draft.turns.back().depth = depth;
    fifths[depth].pop_back();
  }
  return draft;
}

}  // namespace cairn
