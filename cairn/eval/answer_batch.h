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
  std::vector<TokenId> answer{};  // without the token that ended it
  std::string last_bytes{};       // what the ending token holds before its newline
  bool ended = false;             // by the model, before max_tokens
};

// Computes all prompts, then answers until each has ended or is at its cap. Answers end with a newline. Company does
// not change an answer (docs/architecture.md, "One arithmetic"). Errors: those of JudgedEngine::forward, kCancelled.
Status answer_all(JudgedEngine& judged, std::span<PendingAnswer> pending, const std::atomic<bool>* cancel);

}  // namespace cairn
