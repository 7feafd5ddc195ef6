// SPDX-License-Identifier: Apache-2.0
// From the tokens of one answer to the pieces that its client gets.
#pragma once

#include <memory>
#include <optional>
#include <span>

#include "cairn/engine/generate.h"
#include "cairn/serve/backend.h"

namespace cairn {

// Thread-compatible; the tokenizer must outlive it.
class AnswerWriter {
 public:
  // Requires: max_tokens > 0.
  AnswerWriter(const Tokenizer& tokenizer, std::shared_ptr<Generation> generation, std::size_t max_tokens);

  // Hands on a token that was drawn from these logits, unless the model ended the answer with it. Returns why the
  // answer has ended, if it has.
  std::optional<StopReason> write(TokenId id, std::span<const float> logits);
  // Gives out what was held back, unless a stop string came.
  void finish();

 private:
  std::shared_ptr<Generation> generation_;
  GenerationState state_;
};

// The logarithm of each token's probability, of `id` and of the `most` likeliest.
void add_logprobs(std::span<const float> logits, TokenId id, std::size_t most, GeneratedPiece& piece);

}  // namespace cairn
