// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/suite.h"

#include <algorithm>
#include <string>
#include <tuple>
#include <utility>

#include "cairn/codec/plan.h"
#include "cairn/eval/session_tokens.h"
#include "cairn/eval/tasks/task_table.h"

namespace cairn::eval {
namespace {

bool has_task(const SuiteSettings& settings, std::string_view name) {
  return std::ranges::find(settings.tasks, name) != settings.tasks.end();
}

// Controls are about one thing each, so they ask one task, or all of them at the shortest context.
std::vector<std::string> tasks_of(Control control, const SuiteSettings& settings) {
  switch (control) {
    case Control::kNone:
    case Control::kNoContext:
    case Control::kRandomEviction: return settings.tasks;
    case Control::kShuffledLabels:
      return has_task(settings, "S9") ? std::vector<std::string>{"S9"} : std::vector<std::string>{};
    case Control::kInstruction:
    case Control::kInstructionPinned:
      return has_task(settings, "S1") ? std::vector<std::string>{"S1"} : std::vector<std::string>{};
  }
  return {};
}

std::vector<std::uint32_t> contexts_of(Control control, const SuiteSettings& settings) {
  if (control == Control::kNone || control == Control::kRandomEviction) return settings.contexts;
  return {*std::ranges::min_element(settings.contexts)};
}

// Some draws need more room than others: where one does not fit, another may.
constexpr int kDraws = 4;
constexpr std::uint64_t kNextDraw = 0x9e3779b97f4a7c15u;

// The longest session of this draw that fits, with its questions and answers, into `context` tokens; else why not.
Result<EvalSession> fit_session(const tasks::Task& task, SessionSpec spec, std::uint32_t context,
                                const Tokenizer& tokenizer, const std::shared_ptr<const ChatForm>& chat) {
  // How much questions and answers take is known once they are written, and changes little with the context's size.
  // `low` is too small for the task, `high` too large for the cell.
  std::uint32_t low = 0, high = context + 1;
  std::string why;
  for (spec.context_tokens = context; spec.context_tokens > low && spec.context_tokens < high;) {
    Result<EvalSession> session = task.make(spec);
    if (!session) {
      why = session.error().message;
      low = spec.context_tokens;
      if (high > context) break;  // nothing larger may be tried
      spec.context_tokens = low + (high - low) / 2;
      continue;
    }
    if (chat != nullptr) *session = in_chat_form(*std::move(session), chat);
    CAIRN_TRY(const std::size_t needed, session_tokens(tokenizer, *session));
    if (needed <= context) {
      session->context_tokens = context;
      return session;
    }
    high = spec.context_tokens;
    const std::size_t excess = needed - context;
    const std::uint32_t next = excess < high ? high - static_cast<std::uint32_t>(excess) : 0;
    spec.context_tokens = next > low ? next : low + (high - low) / 2;
  }
  return fail(ErrorCode::kInvalidArgument, why);
}

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

std::string_view control_name(Control control) {
  switch (control) {
    case Control::kNone: return "";
    case Control::kNoContext: return "no context";
    case Control::kRandomEviction: return "random eviction";
    case Control::kShuffledLabels: return "shuffled labels";
    case Control::kInstruction: return "instruction";
    case Control::kInstructionPinned: return "instruction pinned";
  }
  return "";
}

Result<std::vector<Contender>> contenders_of(std::span<const EvalRecipe> recipes, const PlanTarget& target,
                                             bool controls) {
  std::vector<Contender> contenders;
  for (const EvalRecipe& recipe : recipes) contenders.push_back({recipe, Control::kNone, 0});
  if (!controls) return contenders;
  CAIRN_TRY(const CodecPlan exact, make_plan(recipes.front().codec, target));
  for (const EvalRecipe& recipe : recipes) {
    CAIRN_TRY(const CodecPlan plan, make_plan(recipe.codec, target));
    const double share = plan.mean_bits(target.shape) / exact.mean_bits(target.shape);
    if (share >= 1) continue;
    CAIRN_TRY(EvalRecipe evicting, parse_recipe(recipes.front().codec + "+evict=" + std::to_string(1 - share)));
    const bool there = std::ranges::any_of(
        contenders, [&](const Contender& contender) { return contender.recipe.text == evicting.text; });
    if (!there) contenders.push_back({std::move(evicting), Control::kRandomEviction, 0});
  }
  contenders.push_back({recipes.front(), Control::kNoContext, 0});
  contenders.push_back({recipes.front(), Control::kShuffledLabels, contenders.size()});
  const std::size_t exact_instruction = contenders.size();
  for (const EvalRecipe& recipe : recipes) {
    contenders.push_back({recipe, Control::kInstruction, exact_instruction});
    if (recipe.evict > 0) contenders.push_back({recipe, Control::kInstructionPinned, exact_instruction});
  }
  return contenders;
}

std::vector<Cell> cells_of(std::span<const Contender> contenders, const SuiteSettings& settings) {
  std::vector<Cell> cells;
  for (std::size_t c = 0; c < contenders.size(); ++c) {
    for (const std::string& task : tasks_of(contenders[c].control, settings)) {
      for (const std::uint32_t context : contexts_of(contenders[c].control, settings)) {
        for (std::uint32_t index = 0; index < settings.sessions; ++index) cells.push_back({c, task, context, index});
      }
    }
  }
  return cells;
}

Result<EvalSession> session_of(const Cell& cell, Control control, const SuiteSettings& settings,
                               const Tokenizer& tokenizer) {
  CAIRN_TRY(const tasks::Task* task, tasks::find_task(cell.task));
  SessionSpec spec{.seed = settings.seed,
                   .index = cell.index,
                   .context_tokens = cell.context,
                   .turns = settings.turns,
                   .count_tokens =
                       [&tokenizer](std::string_view text) {
                         return tokenizer.encode(text, {.add_bos = false, .continues_text = true}).size();
                       },
                   .shuffled_labels = control == Control::kShuffledLabels,
                   .rule = control == Control::kInstruction || control == Control::kInstructionPinned,
                   .prose = settings.chat != nullptr};
  std::string why;
  for (int draw = 0; draw < kDraws; ++draw, spec.seed += kNextDraw) {
    Result<EvalSession> session = fit_session(*task, spec, cell.context, tokenizer, settings.chat);
    if (session) return session;
    why = session.error().message;
  }
  return fail(ErrorCode::kInvalidArgument, std::to_string(settings.turns) + " turns of " + cell.task +
                                               " do not fit into a context of " + std::to_string(cell.context) +
                                               " tokens; raise --contexts, lower --turns or choose other --tasks" +
                                               (why.empty() ? "" : " (" + why + ")"));
}

std::string contender_label(const Contender& contender) {
  std::string label = contender.recipe.text;
  if (contender.control != Control::kNone) label += " (" + std::string(control_name(contender.control)) + ")";
  return label;
}

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
  CacheCost sum{.kept = 0};
  double sessions = 0;
  for (const AnsweredCell& answered : answers) {
    if (answered.outcome.cost.bytes_per_token == 0) continue;
    sum.bytes_per_token += answered.outcome.cost.bytes_per_token;
    sum.bits_per_value += answered.outcome.cost.bits_per_value;
    sum.bytes_held += answered.outcome.cost.bytes_held;
    sum.kept += answered.outcome.cost.kept;
    ++sessions;
  }
  if (sessions == 0) return {};
  return {.bytes_per_token = sum.bytes_per_token / sessions,
          .bits_per_value = sum.bits_per_value / sessions,
          .bytes_held = sum.bytes_held / sessions,
          .kept = sum.kept / sessions};
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

}  // namespace cairn::eval
