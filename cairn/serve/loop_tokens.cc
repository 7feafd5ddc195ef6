// SPDX-License-Identifier: Apache-2.0
// What follows a pass: tokens are drawn, handed out, counted; answers end.
#include <algorithm>
#include <utility>

#include "cairn/base/clock.h"
#include "cairn/serve/loop_impl.h"

namespace cairn {
void ServeLoop::Impl::take_tokens(std::span<const BatchStep::Rows> rows) {
  std::vector<RequestId> drawing;
  for (const BatchStep::Rows& part : rows) {
    const ActiveRequest& request = active.at(part.id);
    if (request.sequence->size() == request.tokens.size()) {
      drawing.push_back(part.id);
    } else {
      scheduler->advanced(part.id, request.sequence->size(), request.tokens.size());
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
  if (!token) return finish(id, FinishReason::kError, token.error().message);
  ActiveRequest& request = active.at(id);
  const auto now = ServeClock::now();
  if (request.generated() == 0) {
    request.timing.first_token_s = seconds_between(request.arrived, now);
    request.timing.prefill_s = seconds_between(request.opened, now) - request.timing.load_s;
    request.usage.cached_tokens = std::min(request.sequence->reused_tokens(), request.usage.prompt_tokens);
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
  scheduler->advanced(id, request.sequence->size(), request.tokens.size());
}

void ServeLoop::Impl::finish(RequestId id, FinishReason reason, std::string error) {
  ActiveRequest& request = active.at(id);
  if (reason == FinishReason::kStop || reason == FinishReason::kLength) request.writer.finish();
  request.usage.completion_tokens = request.generated();
  request.timing.total_s = seconds_between(request.arrived, ServeClock::now());
  const std::shared_ptr<Generation> generation = request.generation;
  GenerationResult result{
      .reason = reason, .error = std::move(error), .usage = request.usage, .timing = request.timing};
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
