// SPDX-License-Identifier: Apache-2.0
// One step of the loop: requests come and go, the scheduler plans, sequences open and make room, one pass is computed.
#include <algorithm>
#include <utility>

#include "cairn/base/clock.h"
#include "cairn/serve/loop_impl.h"

namespace cairn {
namespace {

constexpr std::chrono::milliseconds kNothingToDo(200);  // until the loop looks for cancelled requests again
constexpr std::chrono::milliseconds kBlocksOnTheWay(5);

}  // namespace

void ServeLoop::Impl::run() {
  for (;;) {
    const bool busy = step();
    std::unique_lock lock(mutex);
    if (counts.running + counts.waiting == 0 && inbox.empty()) {
      idle.notify_all();
      if (stop) return;
    }
    if (!busy) {
      work.wait_for(lock, active.empty() ? kNothingToDo : kBlocksOnTheWay, [&] { return stop || !inbox.empty(); });
    }
  }
}

bool ServeLoop::Impl::step() {
  take_inbox();
  drop_cancelled();
  const BatchStep plan = scheduler->plan(now_s(), [this](std::size_t tenant, const std::vector<Digest>& keys) {
    return tenants[tenant].engine->cache().known(keys);
  });
  for (const RequestId id : plan.preempt) preempt(id);
  for (const RequestId id : plan.start) open(id);
  std::vector<BatchStep::Rows> rows;
  for (const BatchStep::Rows& part : plan.rows) {
    const auto found = active.find(part.id);
    if (found != active.end() && may_compute(part.id, found->second, plan.rows.size() == 1)) rows.push_back(part);
  }
  const bool busy = !rows.empty() || !plan.start.empty();
  compute(std::move(rows));
  return busy;
}

void ServeLoop::Impl::take_inbox() {
  std::deque<Submitted> taken;
  bool end = false;
  {
    const std::lock_guard lock(mutex);
    taken.swap(inbox);
    end = end_all;
    counts.waiting += taken.size();
  }
  for (Submitted& submitted : taken) {
    const GenerateRequest& request = submitted.generation->request();
    auto [entry, added] = active.try_emplace(submitted.request.id, engine->tokenizer(), submitted.generation,
                                             std::move(submitted.sampler), submitted.request.max_new);
    ActiveRequest& taken_on = entry->second;
    taken_on.tenant = submitted.request.tenant;
    taken_on.tokens = request.prompt;
    taken_on.policy = request.own_policy ? request.policy : tenants[taken_on.tenant].engine->policy();
    taken_on.usage.prompt_tokens = request.prompt.size();
    taken_on.arrived = begun + std::chrono::duration_cast<ServeClock::duration>(
                                   std::chrono::duration<double>(submitted.request.arrival_s));
    for (const TokenId id : request.prompt) taken_on.sampler.accept(id);
    scheduler->submit(std::move(submitted.request));
  }
  if (!end) return;
  for (auto& [id, request] : active) request.generation->cancel();
}

void ServeLoop::Impl::drop_cancelled() {
  std::vector<RequestId> gone;
  for (const auto& [id, request] : active) {
    if (request.generation->cancelled()) gone.push_back(id);
  }
  for (const RequestId id : gone) finish(id, FinishReason::kCancelled);
}

// Its full blocks stay in the prefix index and in the store for as long as there is room for them.
void ServeLoop::Impl::preempt(RequestId id) {
  ActiveRequest& request = active.at(id);
  request.sequence.reset();
  ++request.usage.preempted;
  const std::lock_guard lock(mutex);
  ++counts.preempted;
}

void ServeLoop::Impl::open(RequestId id) {
  ActiveRequest& request = active.at(id);
  const std::vector<Digest>& keys = request.generation->request().keys;
  // Under a policy what follows the prompt was computed with less than all it could see: no blocks of others will do.
  const std::span<const TokenId> known = request.policy ? request.prompt() : std::span<const TokenId>(request.tokens);
  request.sequence.reset();  // first: its pages may be needed
  request.sequence.emplace(tenants[request.tenant].engine->open_while_loading(known, keys, request.policy));
  scheduler->opened(id, request.sequence->size());
  request.logits.resize(engine->config().vocab);
  request.reopened = ServeClock::now();
  if (request.opened != ServeClock::time_point{}) return;
  request.opened = ServeClock::now();
  request.timing.queued_s = std::chrono::duration<double>(request.opened - request.arrived).count();
}

// False while blocks are on their way that are better waited for. Others never wait with it: where another request has
// rows, blocks join when all layers are there.
bool ServeLoop::Impl::may_compute(RequestId id, ActiveRequest& request, bool alone) {
  Sequence& sequence = *request.sequence;
  const std::size_t before = sequence.size();
  switch (sequence.poll_load(
      {.chunk = Forward::kMaxRows, .look = alone ? kBlocksOnTheWay : std::chrono::milliseconds(0), .whole = !alone})) {
    case LoadStep::kNone:
    case LoadStep::kCompute: return true;
    case LoadStep::kWait: return false;
    case LoadStep::kJoined: break;
  }
  if (request.generated() == 0) {  // what a preempted answer loads is no part of its prompt
    request.usage.stored_tokens = sequence.size() - before;
    request.timing.load_s = seconds_since(request.reopened);
  }
  scheduler->opened(id, sequence.size());
  return false;  // the next plan knows how much is left
}

void ServeLoop::Impl::compute(std::vector<BatchStep::Rows> rows) {
  std::size_t decode_rows = 0, prefill_rows = 0;
  for (const BatchStep::Rows& part : rows) (part.count == 1 ? decode_rows : prefill_rows) += part.count;
  const std::size_t batch = rows.size();
  // A pass that blocks from a store may end is computed apart, so that it costs other requests nothing.
  const auto joined = std::ranges::stable_partition(rows, [&](const BatchStep::Rows& part) {
    return active.at(part.id).sequence->load_state() != LoadState::kJoined;
  });
  const auto others = std::span(rows).first(rows.size() - joined.size());
  for (const auto part : {others, std::span(joined.begin(), joined.end())}) {
    std::vector<BatchStep::Rows> left(part.begin(), part.end());
    std::erase_if(left, [&](const BatchStep::Rows& each) { return !has_sequence(each.id); });  // made room for others
    if (left.empty()) continue;
    if (const Status status = pass(left); !status) recover(left, status.error());
  }
  publish(batch, decode_rows, prefill_rows);
}

Status ServeLoop::Impl::pass(std::span<const BatchStep::Rows> rows) {
  std::vector<ForwardRows> batch;
  std::size_t count = 0;
  for (const BatchStep::Rows& part : rows) {
    ActiveRequest& request = active.at(part.id);
    const std::size_t held = request.sequence->size(), rows_now = rows_of(request, part.count), end = held + rows_now;
    batch.push_back({.sequence = &*request.sequence,
                     .tokens = std::span(request.tokens).subspan(held, rows_now),
                     .logit_rows = end == request.tokens.size() ? 1u : 0u,
                     .logits = request.logits.data()});
    count += rows_now;
  }
  const auto start = ServeClock::now();
  CAIRN_TRY_VOID(engine->forward(batch));
  if (count >= kBlockTokens && count > 2 * rows.size()) {
    for (const BatchStep::Rows& part : rows) {
      KvConnector* connector = tenants[active.at(part.id).tenant].engine->connector();
      if (connector != nullptr && part.count > 1) connector->observe_prefill(count, seconds_since(start));
    }
  }
  const auto failed = end_prompts(rows);
  std::vector<BatchStep::Rows> left(rows.begin(), rows.end());
  std::erase_if(left, [&](const BatchStep::Rows& part) {  // made room just now, or go no further
    return !has_sequence(part.id) || std::ranges::count(failed, part.id, &std::pair<RequestId, Error>::first) > 0;
  });
  take_tokens(left);
  for (const auto& [id, error] : failed) {
    if (has_sequence(id)) finish(id, FinishReason::kError, error);
  }
  return {};
}

// A policy acts where the prompt ends, and perhaps again at block borders after it: passes end there, also when a
// preempted answer is computed again.
std::size_t ServeLoop::Impl::rows_of(const ActiveRequest& request, std::size_t planned) const {
  if (!request.policy) return planned;
  return tokens_until_action(*request.policy, request.usage.prompt_tokens, request.sequence->size(), planned);
}

// Of the requests whose prompts are complete, those that had no room for what their policy does then, though all that
// are newer made room.
std::vector<std::pair<RequestId, Error>> ServeLoop::Impl::end_prompts(std::span<const BatchStep::Rows> rows) {
  std::vector<std::pair<RequestId, Error>> failed;
  for (const BatchStep::Rows& part : rows) {
    ActiveRequest& request = active.at(part.id);
    while (request.policy && request.sequence && request.sequence->size() == request.usage.prompt_tokens) {
      const Status ended = tenants[request.tenant].engine->finish_prompt(*request.sequence);
      if (ended) break;
      if (request.sequence->is_lost()) {
        open(part.id);
        break;
      }
      if (ended.error().code != ErrorCode::kOutOfBudget || scheduler->running(request.tenant) < 2) {
        failed.emplace_back(part.id, ended.error());
        break;
      }
      preempt(scheduler->preempt_newest(request.tenant));  // perhaps this one: then it is computed again later
    }
  }
  return failed;
}

// A pass failed and changed nothing: each part is tried by itself, so that one cannot fail the others.
void ServeLoop::Impl::recover(std::span<const BatchStep::Rows> rows, const Error& error) {
  if (rows.size() == 1) return recover_one(rows.front(), error);
  for (const BatchStep::Rows& part : rows) {
    if (!has_sequence(part.id)) continue;  // made room for one before it
    if (const Status status = pass({&part, 1}); !status) recover_one(part, status.error());
  }
}

void ServeLoop::Impl::recover_one(BatchStep::Rows rows, const Error& error) {
  ActiveRequest& request = active.at(rows.id);
  rows.count = rows_of(request, rows.count);  // those that the pass had
  const auto plan_again = [&] {               // the sequence may have shrunk
    request.usage.stored_tokens = std::min(request.usage.stored_tokens, request.sequence->size());
    scheduler->opened(rows.id, request.sequence->size());
  };
  switch (request.sequence->recover(error, rows.count, engine->pool())) {
    case PassRemedy::kPollAgain: return plan_again();
    case PassRemedy::kFewerRows: rows.count /= 2; break;
    case PassRemedy::kMoreRoom:
      if (scheduler->running(request.tenant) > 1) {
        const RequestId newest = scheduler->preempt_newest(request.tenant);
        preempt(newest);
        if (newest == rows.id) return;
        break;  // at once: what was preempted may be back in the next step, and stand in the way again
      }
      if (request.sequence->end_load(engine->pool())) return plan_again();
      return finish(rows.id, FinishReason::kError, request.sequence->explained(error));
    case PassRemedy::kAnew: return open(rows.id);
    case PassRemedy::kNone: return finish(rows.id, FinishReason::kError, error);
  }
  if (const Status status = pass({&rows, 1}); !status) recover_one(rows, status.error());
}

}  // namespace cairn
