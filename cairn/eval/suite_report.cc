// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/suite_report.h"

#include <cstdio>
#include <functional>
#include <map>
#include <span>
#include <utility>

#include "cairn/base/hash.h"
#include "cairn/eval/tasks/task_table.h"

namespace cairn::eval {
namespace {

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
std::string data_digest(const std::vector<EvalSession>& sessions) {
  Hasher hasher("cairn.eval.data.v1");
  for (const EvalSession& session : sessions) {
    hasher.text(session.context).u64(session.turns.size());
    for (const Turn& turn : session.turns) {
      hasher.text(turn.query).u64(turn.gold.size());
      for (const std::string& gold : turn.gold) hasher.text(gold);
    }
  }
  return std::to_string(sessions.size()) + " sessions, " + hasher.finish().hex().substr(0, 16);
}

std::string fixed(double value, int digits) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%.*f", digits, value);
  return buffer;
}

using Groups = std::map<GroupKey, GroupCounts>;
using Row = std::vector<std::string>;

std::string markdown_table(const std::vector<Row>& rows) {
  std::string text;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (const std::string& cell : rows[r]) text += "| " + cell + " ";
    text += "|\n";
    if (r > 0) continue;
    for (std::size_t c = 0; c < rows[r].size(); ++c) text += c == 0 ? "|---" : "|--:";
    text += "|\n";
  }
  return text + "\n";
}

std::string percent(const Estimate& share) {
  return fixed(share.value * 100, 1) + " % [" + fixed(share.low * 100, 0) + ", " + fixed(share.high * 100, 0) + "]";
}

std::string accuracy(const GroupCounts& counts) {
  return counts.items == 0 ? "-" : percent(counts.accuracy());
}

std::string retained(const GroupCounts& counts) {
  return counts.exact_correct == 0 ? "-" : percent(counts.retained_accuracy());
}

GroupCounts total(const Groups& groups, const std::function<bool(const GroupKey&)>& counts_in) {
  GroupCounts sum;
  for (const auto& [key, counts] : groups) {
    if (counts_in(key)) sum += counts;
  }
  return sum;
}

bool overall(const GroupKey& key) {
  return !key.turn && !key.depth;
}

// What SCBench looks at first: the cache was built without the question, and answered others before.
bool headline(const GroupKey& key) {
  return key.turn && *key.turn > 0 && *key.turn < 5 && key.mode == Mode::kMultiRequest;
}

struct Judged {
  const Contender& contender;
  Groups groups;
  std::span<const AnsweredCell> answers;
};

std::vector<Judged> judge(const SuiteRunSettings& plan, const std::vector<AnsweredCell>& answers) {
  std::vector<Judged> judged;
  for (std::size_t c = 0; c < plan.contenders.size(); ++c) {
    judged.push_back({plan.contenders[c],
                      summarise_cells(answers_of(answers, c), answers_of(answers, plan.contenders[c].judged_against)),
                      answers_of(answers, c)});
  }
  return judged;
}

std::string summary_table(const std::vector<Judged>& all) {
  std::vector<Row> rows = {{"recipe", "bytes/token", "multi-turn", "multi-request",
                            "retained, multi-request turns 2 to 5", "lost", "won", "at the cap"}};
  for (const Judged& judged : all) {
    if (judged.contender.control != Control::kNone && judged.contender.control != Control::kRandomEviction) continue;
    const GroupCounts sum = total(judged.groups, overall);
    const auto of_mode = [&](Mode mode) {
      return total(judged.groups, [mode](const GroupKey& key) { return overall(key) && key.mode == mode; });
    };
    std::string name = "`" + judged.contender.recipe.text + "`";
    if (judged.contender.control != Control::kNone) name += ", " + std::string(control_name(judged.contender.control));
    rows.push_back({name, fixed(mean_cost(judged.answers).bytes_per_token, 0), accuracy(of_mode(Mode::kMultiTurn)),
                    accuracy(of_mode(Mode::kMultiRequest)), retained(total(judged.groups, headline)),
                    std::to_string(sum.lost), std::to_string(sum.won), std::to_string(sum.cap_hits)});
  }
  return markdown_table(rows);
}

std::string title_of(const std::string& task, const std::string& column) {
  const Result<const tasks::Task*> known = tasks::find_task(task);
  std::string title = known ? task + " " + std::string((*known)->title) : task;
  return column.empty() ? title : title + ", " + column;
}

std::string task_table_text(const std::vector<Judged>& all, const SuiteRunSettings& plan) {
  std::vector<Row> rows = {{"task", "context", "exact, multi-turn", "exact, multi-request"}};
  std::vector<const Judged*> others;
  for (const Judged& judged : all) {
    if (&judged == &all.front()) continue;
    if (judged.contender.control != Control::kNone && judged.contender.control != Control::kRandomEviction) continue;
    others.push_back(&judged);
    rows.front().push_back("`" + judged.contender.recipe.text + "` retained, multi-request");
  }
  std::vector<std::string> tasks = plan.settings.tasks;
  for (const auto& [name, sessions] : plan.data) tasks.push_back(name);
  for (const std::string& task : tasks) {
    for (const auto& [key, counts] : all.front().groups) {
      if (key.task != task || !overall(key) || key.mode != Mode::kMultiTurn) continue;
      GroupKey request = key;
      request.mode = Mode::kMultiRequest;
      Row row = {title_of(key.task, key.column), std::to_string(key.context), accuracy(counts),
                 accuracy(all.front().groups.at(request))};
      for (const Judged* other : others) {
        const auto found = other->groups.find(request);
        row.push_back(found == other->groups.end() ? "-" : retained(found->second));
      }
      rows.push_back(std::move(row));
    }
  }
  return markdown_table(rows);
}

std::string turn_table(const std::vector<Judged>& all, const SuiteRunSettings& plan) {
  std::vector<Row> rows = {{"accuracy by turn", "mode"}};
  for (std::uint32_t turn = 0; turn < plan.settings.turns; ++turn) rows.front().push_back(std::to_string(turn + 1));
  for (const Judged& judged : all) {
    if (judged.contender.control != Control::kNone) continue;
    for (const Mode mode : kModes) {
      Row row = {"`" + judged.contender.recipe.text + "`", std::string(mode_name(mode))};
      for (std::uint32_t turn = 0; turn < plan.settings.turns; ++turn) {
        row.push_back(
            accuracy(total(judged.groups, [&](const GroupKey& key) { return key.turn == turn && key.mode == mode; })));
      }
      rows.push_back(std::move(row));
    }
  }
  return markdown_table(rows);
}

std::string control_table(const std::vector<Judged>& all) {
  std::vector<Row> rows = {{"control", "recipe", "items", "right", "rule still obeyed, last turn, multi-request"}};
  for (const Judged& judged : all) {
    const Control control = judged.contender.control;
    if (control == Control::kNone || control == Control::kRandomEviction || judged.answers.empty()) continue;
    const GroupCounts sum = total(judged.groups, [&](const GroupKey& key) {
      return overall(key) && (control != Control::kNoContext || key.mode == Mode::kMultiRequest);
    });
    std::string obeyed = "-";
    if (control == Control::kInstruction || control == Control::kInstructionPinned) {
      const auto last = static_cast<std::uint32_t>(judged.answers.front().columns.size()) - 1;
      const GroupCounts late = total(
          judged.groups, [last](const GroupKey& key) { return key.turn == last && key.mode == Mode::kMultiRequest; });
      obeyed = percent(wilson(late.obeyed, late.items));
    }
    rows.push_back({std::string(control_name(control)), "`" + judged.contender.recipe.text + "`",
                    std::to_string(sum.items), accuracy(sum), obeyed});
  }
  return rows.size() == 1 ? "" : markdown_table(rows);
}

}  // namespace

Json suite_head(Json head, const SuiteRunSettings& plan) {
  Json labels = Json::array(), data = Json::object(), modes = Json::array();
  for (const Contender& contender : plan.contenders) labels.push_back(contender_label(contender));
  for (const auto& [name, sessions] : plan.data) data[name] = data_digest(sessions);
  for (const Mode mode : kModes) modes.push_back(mode_name(mode));
  head["settings"] = {{"form", plan.settings.chat == nullptr ? "plain" : "chat"},
                      {"seed", plan.settings.seed},
                      {"tasks", plan.settings.tasks},
                      {"data", std::move(data)},
                      {"contexts", plan.settings.contexts},
                      {"sessions", plan.settings.sessions},
                      {"turns", plan.settings.turns},
                      {"modes", std::move(modes)},
                      {"contenders", std::move(labels)},
                      {"left_out", plan.left_out}};
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
                       {"kept", (1 - contender.recipe.evict) * cost.kept},
                       {"cells", std::move(cells)}});
  }
  head["recipes"] = std::move(recipes);
  return head;
}

std::string suite_markdown(const SuiteRunSettings& plan, const std::vector<AnsweredCell>& answers,
                           const std::string& model_name) {
  const std::vector<Judged> all = judge(plan, answers);
  std::string text = "# Shared-context suite: " + model_name + "\n\n" +
                     (plan.settings.chat == nullptr ? "Plain" : "Chat") + " form, seed " +
                     std::to_string(plan.settings.seed) + ", " + std::to_string(plan.settings.sessions) +
                     " sessions of each task and context, " + std::to_string(plan.settings.turns) +
                     " turns. Shares of items with Wilson's 95 % intervals; retained: of the items that the exact "
                     "cache answers, those still answered.\n\n";
  return text + summary_table(all) + task_table_text(all, plan) + turn_table(all, plan) + control_table(all);
}

}  // namespace cairn::eval
