// SPDX-License-Identifier: Apache-2.0
// Greedy answers of several sequences at once: one pass computes the next token of all of them.
#pragma once

#include <atomic>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/eval/judged_engine.h"

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

// Computes all prompts, then answers until each has ended or is at its cap. Answers end with a newline. Company does
// not change an answer (docs/architecture.md, "One arithmetic"). Errors: those of JudgedEngine::forward, kCancelled.
Status answer_all(JudgedEngine& judged, std::span<PendingAnswer> pending, const std::atomic<bool>* cancel);

}  // namespace cairn
