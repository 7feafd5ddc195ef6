// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/suite_summary.h"

#include <algorithm>
#include <cstdio>
#include <functional>

#include "cairn/eval/tasks/task_table.h"

namespace cairn::eval {
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

std::string suite_markdown(const SuiteRunSettings& plan, const std::vector<AnsweredCell>& answers,
                           const std::string& model_name) {
  const std::vector<Judged> all = judge(plan, answers);
  std::string text = "# Shared-context suite: " + model_name + "\n\nSeed " + std::to_string(plan.settings.seed) + ", " +
                     std::to_string(plan.settings.sessions) + " sessions of each task and context, " +
                     std::to_string(plan.settings.turns) +
                     " turns. Shares of items with Wilson's 95 % intervals; retained: of the items that the exact "
                     "cache answers, those still answered.\n\n";
  return text + summary_table(all) + task_table_text(all, plan) + turn_table(all, plan) + control_table(all);
}

}  // namespace cairn::eval
