// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/eval/suite_json.h"

#include <algorithm>
#include <map>
#include <span>
#include <utility>

namespace cairn::cli {
namespace {

std::string contender_label(const Contender& contender) {
  std::string label = contender.recipe.text;
  if (contender.control != Control::kNone) label += " (" + std::string(control_name(contender.control)) + ")";
  return label;
}

Json group_json(const GroupKey& key, const GroupCounts& counts) {
  Json group = {{"task", key.task},
                {"column", key.column},
                {"mode", mode_name(key.mode)},
                {"context", key.context},
                {"turn", key.turn ? Json(*key.turn + 1) : Json(nullptr)},
                {"depth", key.depth ? Json(*key.depth) : Json(nullptr)},
                {"items", counts.items},
                {"right", counts.correct},
                {"score", counts.mean_score()},
                {"accuracy", estimate_json(counts.accuracy())},
                {"retained", nullptr},
                {"lost", counts.lost},
                {"won", counts.won},
                {"cap_hits", counts.cap_hits},
                {"answer_tokens", static_cast<double>(counts.answer_tokens) / static_cast<double>(counts.items)},
                {"obeyed", static_cast<double>(counts.obeyed) / static_cast<double>(counts.items)}};
  if (counts.exact_correct > 0) {
    group["retained"] = {{"items", counts.exact_correct},
                         {"kept", counts.retained},
                         {"interval", estimate_json(counts.retained_accuracy())}};
  }
  return group;
}

// What a journal must agree on: the same questions, not only as many.
std::string data_digest(const std::vector<Session>& sessions) {
  Hasher hasher("cairn.eval.data.v1");
  for (const Session& session : sessions) {
    hasher.text(session.context).u64(session.turns.size());
    for (const Turn& turn : session.turns) {
      hasher.text(turn.query).u64(turn.gold.size());
      for (const std::string& gold : turn.gold) hasher.text(gold);
    }
  }
  return std::to_string(sessions.size()) + " sessions, " + hasher.finish().hex().substr(0, 16);
}

// A journal may have been edited: each turn once in each mode, in order, and no figure that run_session cannot give.
bool is_whole(const AnsweredCell& answered) {
  const std::size_t turns = answered.columns.size();
  const CacheCost& cost = answered.outcome.cost;
  if (turns == 0 || answered.outcome.turns.size() != kModes.size() * turns) return false;
  if (!(cost.bytes_per_token >= 0 && cost.bytes_per_token < 1e12 && cost.bits_per_value >= 0)) return false;
  if (std::ranges::any_of(answered.depths, [](std::uint32_t depth) { return depth > kUnknownDepth; })) return false;
  for (std::size_t i = 0; i < answered.outcome.turns.size(); ++i) {
    const TurnOutcome& turn = answered.outcome.turns[i];
    if (turn.mode != kModes[i / turns] || turn.turn != i % turns) return false;
    if (!(turn.score >= 0 && turn.score <= 1)) return false;
  }
  return true;
}

}  // namespace

std::string cell_key(const SuiteRunSettings& plan, const Cell& cell) {
  return contender_label(plan.contenders[cell.contender]) + "|" + cell.task + "|" + std::to_string(cell.context) + "|" +
         std::to_string(cell.index);
}

Json answered_json(const AnsweredCell& answered) {
  Json turns = Json::array();
  for (const TurnOutcome& turn : answered.outcome.turns) {
    turns.push_back({{"mode", mode_name(turn.mode)},
                     {"turn", turn.turn},
                     {"column", answered.columns[turn.turn]},
                     {"depth", answered.depths[turn.turn]},
                     {"score", turn.score},
                     {"correct", turn.correct},
                     {"obeyed", turn.obeyed},
                     {"tokens", turn.answer_tokens},
                     {"cap", turn.hit_cap},
                     {"answer", turn.answer}});
  }
  return {{"bytes_per_token", answered.outcome.cost.bytes_per_token},
          {"bits_per_value", answered.outcome.cost.bits_per_value},
          {"turns", std::move(turns)}};
}

std::optional<AnsweredCell> answered_from_json(const Json& json, const Cell& cell) {
  try {
    AnsweredCell answered{.cell = cell, .columns = {}, .depths = {}, .outcome = {}};
    answered.outcome.cost = {json.at("bytes_per_token"), json.at("bits_per_value")};
    for (const Json& turn : json.at("turns")) {
      TurnOutcome& outcome = answered.outcome.turns.emplace_back();
      const auto mode = turn.at("mode").get<std::string>();
      const auto known = std::ranges::find(kModes, mode, mode_name);
      if (known == kModes.end()) return std::nullopt;
      outcome.mode = *known;
      outcome.turn = turn.at("turn");
      outcome.score = turn.at("score");
      outcome.correct = turn.at("correct");
      outcome.obeyed = turn.at("obeyed");
      outcome.answer_tokens = turn.at("tokens");
      outcome.hit_cap = turn.at("cap");
      outcome.answer = turn.at("answer");
      if (outcome.mode != kModes.front()) continue;
      if (outcome.turn != answered.columns.size()) return std::nullopt;
      answered.columns.push_back(turn.at("column"));
      answered.depths.push_back(turn.at("depth"));
    }
    return is_whole(answered) ? std::optional(std::move(answered)) : std::nullopt;
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

Json suite_head(const SuiteRunSettings& plan, const Engine& engine, const std::string& model_file) {
  Json head = result_head("cairn.eval.suite.v1", engine, model_file);
  Json labels = Json::array(), data = Json::object(), modes = Json::array();
  for (const Contender& contender : plan.contenders) labels.push_back(contender_label(contender));
  for (const auto& [name, sessions] : plan.data) data[name] = data_digest(sessions);
  for (const Mode mode : kModes) modes.push_back(mode_name(mode));
  head["settings"] = {
      {"seed", plan.settings.seed},         {"tasks", plan.settings.tasks},       {"data", std::move(data)},
      {"contexts", plan.settings.contexts}, {"sessions", plan.settings.sessions}, {"turns", plan.settings.turns},
      {"modes", std::move(modes)},          {"contenders", std::move(labels)},    {"left_out", plan.left_out}};
  return head;
}

Json suite_json(Json head, const SuiteRunSettings& plan, const std::vector<AnsweredCell>& answers) {
  Json recipes = Json::array();
  for (std::size_t c = 0; c < plan.contenders.size(); ++c) {
    const Contender& contender = plan.contenders[c];
    const auto mine = answers_of(answers, c);
    if (mine.empty()) continue;
    const CacheCost cost = mean_cost(mine);
    Json cells = Json::array();
    for (const auto& [key, counts] : summarise_cells(mine, answers_of(answers, contender.judged_against))) {
      // Without a context the turns of one session have nothing in common but the earlier gold answers.
      if (contender.control == Control::kNoContext && key.mode == Mode::kMultiTurn) continue;
      if (key.turn || key.depth) cells.push_back(group_json(key, counts));
    }
    recipes.push_back({{"recipe", contender.recipe.text},
                       {"control", control_name(contender.control)},
                       {"bytes_per_token", cost.bytes_per_token},
                       {"bits_per_value", cost.bits_per_value},
                       {"kept", 1 - contender.recipe.evict},
                       {"cells", std::move(cells)}});
  }
  head["recipes"] = std::move(recipes);
  return head;
}

}  // namespace cairn::cli
