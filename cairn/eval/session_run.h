// SPDX-License-Identifier: Apache-2.0
// Runs one session of the suite on a judged cache, in both modes, and scores every turn. Several sequences are answered
// at once: one pass computes the next token of all of them.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/eval/judged_engine.h"
#include "cairn/eval/session.h"

namespace cairn {

struct PendingAnswer {
  Sequence sequence;
  std::vector<TokenId> prompt{};  // what the sequence still lacks
  std::size_t max_tokens = 0;     // 0: only the logits after the prompt are wanted
  std::vector<float> logits{};    // after the prompt, then after each answer token
  std::string text{};             // up to a newline
  std::size_t num_tokens = 0;     // of the answer, without one that ended it
  bool hit_cap = false;           // the model did not end it before max_tokens
};

// Of the passes that computed the answers' tokens after the first ones, which follow from the prompts. A value.
struct DecodeTime {
  double seconds = 0;
  std::uint64_t tokens = 0;  // of all answers, several to a pass
};

// Computes all prompts, then answers until each has ended or is at its cap. Answers end with a newline. Company does
// not change an answer (docs/architecture.md, "One arithmetic"). Errors: those of JudgedEngine::forward, kCancelled.
Result<DecodeTime> answer_all(JudgedEngine& judged, std::span<PendingAnswer> pending, const std::atomic<bool>* cancel);

enum class Mode : std::uint8_t {
  kMultiTurn,     // each question follows the ones before it and their gold answers
  kMultiRequest,  // each question follows the context alone
};
inline constexpr std::array<Mode, 2> kModes = {Mode::kMultiTurn, Mode::kMultiRequest};
std::string_view mode_name(Mode mode);  // "multi-turn", "multi-request"

struct TurnOutcome {
  Mode mode = Mode::kMultiTurn;
  std::uint32_t turn = 0;  // from 0
  double score = 0;        // of the metric, in [0, 1]
  bool correct = false;
  bool obeyed = true;  // the answer begins with Turn::begins_with
  std::uint32_t answer_tokens = 0;
  bool hit_cap = false;  // the answer had not ended after max_tokens
  std::string answer;    // as generated, or the chosen candidate
};

struct SessionOutcome {
  CacheCost cost;            // of the context; zeros without one
  double read_fraction = 1;  // of the boxes that decoded queries could read, those that they read
  double box_bytes = 0;      // held beside the pages once a question was answered; each choice among pages reads them
  DecodeTime decode;         // whoever else was computing then: the only figure here that is not always the same
  std::vector<TurnOutcome> turns;  // multi-turn first, then by turn
};

struct SessionControl {
  bool with_context = true;  // false: questions alone, to see what needs no context
  bool pin_instruction = false;
  const std::atomic<bool>* cancel = nullptr;
};

// The context is computed once and finished under the recipe before any question is seen, then forked. Answers are
// greedy and end with a newline or an end-of-generation token. Errors: kTooLong (session_tokens exceed the engine's
// context), kCancelled, those of Engine::forward.
Result<SessionOutcome> run_session(JudgedEngine& judged, const EvalSession& session,
                                   const SessionControl& control = {});

}  // namespace cairn
