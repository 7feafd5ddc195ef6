// SPDX-License-Identifier: Apache-2.0
// The form that questions have in most tasks.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cairn/eval/session.h"

namespace cairn {

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

}  // namespace cairn
