// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/answer_writer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace cairn {

AnswerWriter::AnswerWriter(const Tokenizer& tokenizer, std::shared_ptr<Generation> generation)
    : generation_(std::move(generation)),
      stream_(tokenizer, {.continues_text = !generation_->request().chat}),
      stop_(generation_->request().stop) {}

void AnswerWriter::write(TokenId id, std::span<const float> logits) {
  GeneratedPiece piece{.text = stop_.feed(stream_.feed(id)), .id = id, .has_token = true};
  if (const auto most = generation_->request().logprobs) add_logprobs(logits, id, *most, piece);
  generation_->push(std::move(piece));
}

void AnswerWriter::finish() {
  if (stop_.stopped()) return;
  std::string rest = stop_.feed(stream_.finish());
  rest += stop_.finish();
  if (!rest.empty()) generation_->push({.text = std::move(rest)});
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
