// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/session_run.h"

#include <algorithm>
#include <chrono>
#include <span>
#include <utility>

#include "cairn/base/clock.h"
#include "cairn/engine/generate.h"
#include "cairn/eval/session.h"
#include "cairn/eval/session_tokens.h"

namespace cairn {
namespace {

Status check(const std::atomic<bool>* cancel) {
  if (cancel == nullptr || !cancel->load(std::memory_order_relaxed)) return {};
  return fail(ErrorCode::kCancelled, "stopped between two passes");
}

// Cut at block borders, like every prefill of a judged cache.
Status compute_prompts(JudgedEngine& judged, std::span<PendingAnswer> pending, const std::atomic<bool>* cancel) {
  std::vector<std::size_t> done(pending.size());
  for (PendingAnswer& each : pending) each.sequence.begin_prompt();
  for (;;) {
    CAIRN_TRY_VOID(check(cancel));
    std::vector<ForwardRows> batch;
    std::size_t rows = 0;
    for (std::size_t i = 0; i < pending.size(); ++i) {
      PendingAnswer& each = pending[i];
      const std::size_t to_border = kBlockTokens - each.sequence.size() % kBlockTokens;
      const std::size_t count =
          std::min({each.prompt.size() - done[i], to_border, std::size_t{Forward::kMaxRows} - rows});
      if (count == 0) continue;
      const bool last = done[i] + count == each.prompt.size();
      batch.push_back(
          {&each.sequence, std::span(each.prompt).subspan(done[i], count), last ? 1u : 0u, each.logits.data()});
      done[i] += count;
      rows += count;
    }
    if (batch.empty()) break;
    CAIRN_TRY_VOID(judged.forward(batch));
  }
  for (PendingAnswer& each : pending) CAIRN_TRY_VOID(judged.engine().finish_prompt(each.sequence));
  return {};
}

struct RunningAnswer {
  PendingAnswer* pending;
  GenerationState state;
};

// Greedy by hand: a damaged cache may give logits that a sampler refuses, and its answers are judged all the same.
TokenId likeliest(const std::vector<float>& logits) {
  return static_cast<TokenId>(std::ranges::max_element(logits) - logits.begin());
}

// Whether the answer has ended.
bool advance(RunningAnswer& answer) {
  PendingAnswer& pending = *answer.pending;
  const GenerationStep step = answer.state.take(likeliest(pending.logits));
  pending.text += step.text;
  if (!step.stop) return false;
  pending.text += answer.state.finish();
  pending.num_tokens = answer.state.ids().size() - (step.stop == StopReason::kString ? 1 : 0);
  pending.hit_cap = step.stop == StopReason::kLength;
  return true;
}

struct BoxesRead {
  std::uint64_t read = 0, offered = 0;
};

BoxesRead boxes_read(std::span<const PendingAnswer> pending) {
  BoxesRead sum;
  for (const PendingAnswer& each : pending) {
    const PolicyReport report = each.sequence.policy_report();
    sum.read += report.boxes_read;
    sum.offered += report.boxes_offered;
  }
  return sum;
}

// Forks go on counting from where they were forked.
double read_since(const BoxesRead& before, std::span<const PendingAnswer> pending) {
  const BoxesRead after = boxes_read(pending);
  if (after.offered == before.offered) return 1;
  return static_cast<double>(after.read - before.read) / static_cast<double>(after.offered - before.offered);
}

TurnOutcome outcome_of(const Turn& turn, const TurnTokens& tokens, const PendingAnswer& pending) {
  TurnOutcome outcome;
  if (turn.metric == Metric::kChoice) {
    const auto likeliest = std::ranges::max_element(
        tokens.candidates, {}, [&](TokenId token) { return pending.logits[static_cast<std::size_t>(token)]; });
    const auto chosen = static_cast<std::size_t>(likeliest - tokens.candidates.begin());
    outcome.answer = turn.candidates[chosen];
    outcome.score = score_choice(turn, chosen);
  } else {
    outcome.answer = pending.text;
    outcome.score = score_answer(turn, outcome.answer);
    outcome.answer_tokens = static_cast<std::uint32_t>(pending.num_tokens);
    outcome.hit_cap = pending.hit_cap;
  }
  outcome.correct = is_correct(turn.metric, outcome.score);
  outcome.obeyed = begins_with_word(turn.begins_with, outcome.answer);
  return outcome;
}

}  // namespace

Result<DecodeTime> answer_all(JudgedEngine& judged, std::span<PendingAnswer> pending, const std::atomic<bool>* cancel) {
  const Tokenizer& tokenizer = judged.engine().tokenizer();
  for (PendingAnswer& each : pending) each.logits.resize(tokenizer.size());
  CAIRN_TRY_VOID(compute_prompts(judged, pending, cancel));
  std::vector<RunningAnswer> active;
  for (PendingAnswer& each : pending) {
    if (each.max_tokens == 0) continue;
    active.push_back({&each, {tokenizer, {.max_tokens = each.max_tokens, .stop = {"\n"}, .continues_text = true}}});
  }
  DecodeTime time;
  while (!active.empty()) {
    CAIRN_TRY_VOID(check(cancel));
    std::erase_if(active, advance);
    const auto start = std::chrono::steady_clock::now();
    for (std::size_t first = 0; first < active.size(); first += Forward::kMaxRows) {
      std::vector<ForwardRows> batch;
      for (std::size_t i = first; i < std::min<std::size_t>(active.size(), first + Forward::kMaxRows); ++i) {
        PendingAnswer& each = *active[i].pending;
        batch.push_back({&each.sequence, std::span(active[i].state.ids()).last(1), 1, each.logits.data()});
      }
      CAIRN_TRY_VOID(judged.forward(batch));
    }
    time.tokens += active.size();
    time.seconds += seconds_since(start);
  }
  return time;
}

std::string_view mode_name(Mode mode) {
  return mode == Mode::kMultiTurn ? "multi-turn" : "multi-request";
}

Result<SessionOutcome> run_session(JudgedEngine& judged, const EvalSession& session, const SessionControl& control) {
  const Tokenizer& tokenizer = judged.engine().tokenizer();
  CAIRN_TRY(const std::size_t needed, session_tokens(tokenizer, session));
  if (needed > judged.engine().context()) {
    return fail(ErrorCode::kTooLong, "session " + std::to_string(session.index) + " of " + session.task + " needs " +
                                         std::to_string(needed) + " tokens, the context holds " +
                                         std::to_string(judged.engine().context()));
  }
  CAIRN_TRY(const SessionTokens tokens, tokens_of(tokenizer, session, control.with_context));
  const std::vector<TurnTokens>& turns = tokens.turns;
  SessionOutcome outcome;
  Sequence context = judged.open(tokens.context);
  if (!tokens.context.empty()) {
    const auto missing = std::span(tokens.context).subspan(context.size());
    CAIRN_TRY(const auto logits, judged.extend(context, missing, control.cancel));
    static_cast<void>(logits);
    CAIRN_TRY_VOID(judged.finish_context(context, control.pin_instruction ? tokens.pinned : std::size_t{0}));
    if (control.with_context) outcome.cost = judged.cost(context);
  }
  std::vector<PendingAnswer> pending;
  Sequence story = context.fork();
  for (std::size_t t = 0; t < turns.size(); ++t) {
    pending.push_back({.sequence = story.fork(), .prompt = turns[t].query, .max_tokens = 0});
    if (t + 1 == turns.size()) break;
    CAIRN_TRY(const auto logits, judged.extend(story, turns[t].asked, control.cancel));
    static_cast<void>(logits);
  }
  // The first question follows the context in both modes, so it is asked once.
  for (std::size_t t = 1; t < turns.size(); ++t) {
    pending.push_back({.sequence = context.fork(), .prompt = turns[t].query});
  }
  const auto turn_of = [&](std::size_t i) { return i < turns.size() ? i : i - turns.size() + 1; };
  for (std::size_t i = 0; i < pending.size(); ++i) {
    const Turn& turn = session.turns[turn_of(i)];
    pending[i].max_tokens = turn.metric == Metric::kChoice ? 0 : turn.max_tokens;
  }
  const BoxesRead before = boxes_read(pending);
  CAIRN_TRY(outcome.decode, answer_all(judged, pending, control.cancel));
  outcome.read_fraction = read_since(before, pending);
  outcome.box_bytes = static_cast<double>(pending.front().sequence.policy_report().box_bytes);
  for (std::size_t i = 0; i < pending.size(); ++i) {
    const std::size_t t = turn_of(i);
    TurnOutcome& turn = outcome.turns.emplace_back(outcome_of(session.turns[t], turns[t], pending[i]));
    turn.mode = i < turns.size() ? Mode::kMultiTurn : Mode::kMultiRequest;
    turn.turn = static_cast<std::uint32_t>(t);
  }
  TurnOutcome first = outcome.turns.front();
  first.mode = Mode::kMultiRequest;
  outcome.turns.insert(outcome.turns.begin() + static_cast<std::ptrdiff_t>(turns.size()), std::move(first));
  return outcome;
}

}  // namespace cairn
