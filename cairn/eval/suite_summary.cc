// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/suite_summary.h"

#include <algorithm>

namespace cairn {
namespace {

using ItemKey = std::tuple<std::string, std::uint32_t, std::uint32_t, Mode, std::uint32_t>;

ItemKey item_key(const Cell& cell, const TurnOutcome& turn) {
  return {cell.task, cell.context, cell.index, turn.mode, turn.turn};
}

GroupCounts count_of(const TurnOutcome& turn, bool exact_correct) {
  return {.items = 1,
          .correct = turn.correct ? 1u : 0u,
          .exact_correct = exact_correct ? 1u : 0u,
          .retained = exact_correct && turn.correct ? 1u : 0u,
          .lost = exact_correct && !turn.correct ? 1u : 0u,
          .won = !exact_correct && turn.correct ? 1u : 0u,
          .cap_hits = turn.hit_cap ? 1u : 0u,
          .answer_tokens = turn.answer_tokens,
          .obeyed = turn.obeyed ? 1u : 0u,
          .score = turn.score};
}

}  // namespace

GroupCounts& GroupCounts::operator+=(const GroupCounts& other) {
  items += other.items;
  correct += other.correct;
  exact_correct += other.exact_correct;
  retained += other.retained;
  lost += other.lost;
  won += other.won;
  cap_hits += other.cap_hits;
  answer_tokens += other.answer_tokens;
  obeyed += other.obeyed;
  score += other.score;
  return *this;
}

std::span<const AnsweredCell> answers_of(std::span<const AnsweredCell> answers, std::size_t contender) {
  const auto same = std::ranges::equal_range(answers, contender, {},
                                             [](const AnsweredCell& answered) { return answered.cell.contender; });
  return {same.begin(), same.end()};
}

CacheCost mean_cost(std::span<const AnsweredCell> answers) {
  CacheCost sum;
  double sessions = 0;
  for (const AnsweredCell& answered : answers) {
    if (answered.outcome.cost.bytes_per_token == 0) continue;
    sum.bytes_per_token += answered.outcome.cost.bytes_per_token;
    sum.bits_per_value += answered.outcome.cost.bits_per_value;
    ++sessions;
  }
  if (sessions == 0) return {};
  return {.bytes_per_token = sum.bytes_per_token / sessions, .bits_per_value = sum.bits_per_value / sessions};
}

std::map<GroupKey, GroupCounts> summarise_cells(std::span<const AnsweredCell> judged,
                                                std::span<const AnsweredCell> exact) {
  std::map<ItemKey, bool> exact_correct;
  for (const AnsweredCell& answered : exact) {
    for (const TurnOutcome& turn : answered.outcome.turns) {
      exact_correct[item_key(answered.cell, turn)] = turn.correct;
    }
  }
  std::map<GroupKey, GroupCounts> groups;
  for (const AnsweredCell& answered : judged) {
    for (const TurnOutcome& turn : answered.outcome.turns) {
      const auto partner = exact_correct.find(item_key(answered.cell, turn));
      const GroupCounts counts = count_of(turn, partner != exact_correct.end() && partner->second);
      GroupKey key{answered.cell.task, answered.columns.at(turn.turn), turn.mode, answered.cell.context, {}, {}};
      groups[key] += counts;
      key.turn = turn.turn;
      groups[key] += counts;
      key.turn.reset();
      if (answered.depths.at(turn.turn) == kUnknownDepth) continue;
      key.depth = answered.depths[turn.turn];
      groups[key] += counts;
    }
  }
  return groups;
}

}  // namespace cairn
