// SPDX-License-Identifier: Apache-2.0
// From the tokens of one answer to the pieces that its client gets.
#pragma once

#include <memory>
#include <span>

#include "cairn/serve/backend.h"
#include "cairn/serve/stop_matcher.h"
#include "cairn/text/tokenizer.h"

namespace cairn {

// Thread-compatible; the tokenizer must outlive it.
class AnswerWriter {
 public:
  AnswerWriter(const Tokenizer& tokenizer, std::shared_ptr<Generation> generation);

  // The logits are those that the token was drawn from.
  void write(TokenId id, std::span<const float> logits);
  // Whether a stop string has come.
  bool stopped() const { return stop_.stopped(); }
  // Gives out what was held back, unless a stop string came.
  void finish();

 private:
  std::shared_ptr<Generation> generation_;
  TokenStream stream_;
  StopMatcher stop_;
};

// The logarithm of each token's probability, of `id` and of the `most` likeliest.
void add_logprobs(std::span<const float> logits, TokenId id, std::size_t most, GeneratedPiece& piece);

}  // namespace cairn
