// SPDX-License-Identifier: Apache-2.0
// What follows a pass: tokens are drawn, handed out, counted; answers end.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "cairn/base/clock.h"
#include "cairn/serve/loop_impl.h"

namespace cairn {
namespace {

// The logarithm of each token's probability, of `id` and of the `most` likeliest.
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

}  // namespace

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

void ServeLoop::Impl::take_tokens(std::span<const BatchStep::Rows> rows) {
  std::vector<RequestId> drawing;
  for (const BatchStep::Rows& part : rows) {
    const ActiveRequest& request = active.at(part.id);
    if (request.sequence->size() == request.tokens.size()) {
      drawing.push_back(part.id);
    } else {
      scheduler->advanced(part.id, request.sequence->size(), request.tokens.size(), request.sequence->owes_retention());
    }
  }
  std::vector<Result<TokenId>> tokens(drawing.size(), TokenId{0});
  engine->pool().run(drawing.size(), [&](std::size_t i, unsigned) {
    ActiveRequest& request = active.find(drawing[i])->second;
    tokens[i] = request.sampler.sample(request.logits);
  });
  for (std::size_t i = 0; i < drawing.size(); ++i) take_token(drawing[i], std::move(tokens[i]));
}

void ServeLoop::Impl::take_token(RequestId id, Result<TokenId> token) {
  if (!token) return finish(id, FinishReason::kError, token.error());
  ActiveRequest& request = active.at(id);
  const auto now = ServeClock::now();
  if (request.generated() == 0) {
    request.timing.first_token_s = seconds_between(request.arrived, now);
    request.timing.prefill_s = seconds_between(request.opened, now) - request.timing.load_s;
    request.usage.cached_tokens = std::min(request.sequence->reused_tokens(), request.usage.prompt_tokens);
    request.usage.known_tokens = request.sequence->known_tokens();
    const std::lock_guard lock(mutex);
    TenantState& of_tenant = tenants[request.tenant].counts;
    of_tenant.prompt_tokens += request.usage.prompt_tokens;
    of_tenant.cached_tokens += request.usage.cached_tokens;
    of_tenant.stored_tokens += request.usage.stored_tokens;
  } else {
    request.timing.longest_gap_s = std::max(request.timing.longest_gap_s, seconds_between(request.last_token, now));
  }
  request.last_token = now;
  const std::optional<StopReason> ended = request.writer.write(*token, request.logits);
  if (ended == StopReason::kEnd) return finish(id, FinishReason::kStop);
  request.tokens.push_back(*token);
  request.sampler.accept(*token);
  {
    const std::lock_guard lock(mutex);
    ++tenants[request.tenant].counts.generated_tokens;
  }
  if (ended) return finish(id, ended == StopReason::kLength ? FinishReason::kLength : FinishReason::kStop);
  scheduler->advanced(id, request.sequence->size(), request.tokens.size(), request.sequence->owes_retention());
}

void ServeLoop::Impl::finish(RequestId id, FinishReason reason, Error error) {
  ActiveRequest& request = active.at(id);
  if (reason == FinishReason::kStop || reason == FinishReason::kLength) request.writer.finish();
  if (request.sequence) request.usage.policy = policy_figures(*request.sequence);
  request.usage.completion_tokens = request.generated();
  request.timing.total_s = seconds_between(request.arrived, ServeClock::now());
  const std::shared_ptr<Generation> generation = request.generation;
  GenerationResult result{.reason = reason,
                          .error = std::move(error.message),
                          .error_code = error.code,
                          .usage = request.usage,
                          .timing = request.timing};
  scheduler->remove(id);
  active.erase(id);
  {
    const std::lock_guard lock(mutex);
    ++(reason == FinishReason::kCancelled ? counts.cancelled
       : reason == FinishReason::kError   ? counts.failed
                                          : counts.finished);
  }
  generation->finish(std::move(result));
}

void ServeLoop::Impl::publish(std::size_t batch, std::size_t decode_rows, std::size_t prefill_rows) {
  const std::lock_guard lock(mutex);
  counts.running = scheduler->running();
  counts.waiting = scheduler->waiting();
  for (std::size_t t = 0; t < tenants.size(); ++t) {
    tenants[t].counts.running = scheduler->running(t);
    tenants[t].waiting = scheduler->waiting(t);
    for (const Submitted& submitted : inbox) tenants[t].waiting += submitted.request.tenant == t ? 1 : 0;
  }
  if (batch == 0) return;
  ++counts.passes;
  counts.rows += decode_rows + prefill_rows;
  counts.decode_rows += decode_rows;
  counts.prefill_rows += prefill_rows;
  counts.last_batch = batch;
}

}  // namespace cairn
