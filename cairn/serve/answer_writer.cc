// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/answer_writer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace cairn {

AnswerWriter::AnswerWriter(const Tokenizer& tokenizer, std::shared_ptr<Generation> generation, std::size_t max_tokens)
    : generation_(std::move(generation)),
      state_(tokenizer, {.max_tokens = max_tokens,
                         .stop = generation_->request().stop,
                         .ignore_eos = generation_->request().ignore_eos,
                         .continues_text = !generation_->request().chat}) {}

std::optional<StopReason> AnswerWriter::write(TokenId id, std::span<const float> logits) {
  GenerationStep step = state_.take(id);
  if (!step.id) return step.stop;
  GeneratedPiece piece{.text = std::move(step.text), .id = id, .has_token = true};
  if (const auto most = generation_->request().logprobs) add_logprobs(logits, id, *most, piece);
  generation_->push(std::move(piece));
  return step.stop;
}

void AnswerWriter::finish() {
  if (std::string rest = state_.finish(); !rest.empty()) generation_->push({.text = std::move(rest)});
}

void add_logprobs(std::span<const float> logits, TokenId id, std::size_t most, GeneratedPiece& piece) {
  const float greatest = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - greatest);
  const double all = greatest + std::log(sum);
  const auto of = [&](TokenId token) {
    return TokenLogprob{token, static_cast<float>(logits[static_cast<std::size_t>(token)] - all)};
  };
  piece.logprob = of(id);
  std::vector<TokenId> ids(logits.size());
  std::iota(ids.begin(), ids.end(), TokenId{0});
  const std::size_t count = std::min(most, ids.size());
  std::ranges::partial_sort(ids, ids.begin() + static_cast<std::ptrdiff_t>(count), [&](TokenId a, TokenId b) {
    const float of_a = logits[static_cast<std::size_t>(a)], of_b = logits[static_cast<std::size_t>(b)];
    return of_a != of_b ? of_a > of_b : a < b;
  });
  for (std::size_t i = 0; i < count; ++i) piece.top_logprobs.push_back(of(ids[i]));
}

}  // namespace cairn
