// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/eval/tally.h"

#include <cmath>
#include <tuple>

namespace cairn {

void Tally::add(const SuiteCell& cell) {
  const auto count = static_cast<double>(cell.items);
  items += cell.items;
  right += cell.accuracy ? static_cast<std::uint64_t>(std::llround(cell.accuracy->value * count)) : 0;
  retained_items += cell.retained.items;
  retained_kept += cell.retained.kept;
  lost += cell.lost;
  won += cell.won;
  cap_hits += cell.cap_hits;
  score_sum += cell.score.value_or(0) * count;
  answer_token_sum += cell.answer_tokens * count;
}

std::optional<Estimate> Tally::accuracy() const {
  if (items == 0) return std::nullopt;
  return wilson(right, items);
}

std::optional<Estimate> Tally::retained() const {
  if (retained_items == 0) return std::nullopt;
  return wilson(retained_kept, retained_items);
}

std::optional<double> Tally::score() const {
  if (items == 0) return std::nullopt;
  return score_sum / static_cast<double>(items);
}

std::optional<double> Tally::answer_tokens() const {
  if (items == 0) return std::nullopt;
  return answer_token_sum / static_cast<double>(items);
}

Tally tally_if(const std::vector<SuiteCell>& cells, const std::function<bool(const SuiteCell&)>& wanted) {
  Tally tally;
  for (const SuiteCell& cell : cells) {
    if (wanted(cell)) tally.add(cell);
  }
  return tally;
}

bool is_late_turn(const SuiteCell& cell) {
  return cell.turn && *cell.turn >= 2 && *cell.turn <= 5;
}

bool is_headline(const SuiteCell& cell) {
  return cell.mode == kMultiRequestMode && is_late_turn(cell);
}

bool TaskColumn::operator<(const TaskColumn& other) const {
  // Numbers without leading zeros sort as their length and then as text.
  return std::tuple(task.size(), task, column) < std::tuple(other.task.size(), other.task, other.column);
}

}  // namespace cairn
