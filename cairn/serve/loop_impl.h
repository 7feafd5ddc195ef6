// SPDX-License-Identifier: Apache-2.0
// The inside of ServeLoop: what the computing thread owns, and what it shares with callers under one lock.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "cairn/base/hash.h"
#include "cairn/base/result.h"
#include "cairn/engine/engine.h"
#include "cairn/engine/generate.h"
#include "cairn/sched/scheduler.h"
#include "cairn/serve/backend.h"
#include "cairn/serve/loop.h"

namespace cairn {

using ServeClock = std::chrono::steady_clock;

// From the tokens of one answer to the pieces that its client gets. Thread-compatible; the tokenizer must outlive it.
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

// A request that the loop has taken on. Belongs to the loop's thread.
struct ActiveRequest {
  ActiveRequest(const Tokenizer& tokenizer, std::shared_ptr<Generation> from, Sampler with, std::size_t max_tokens)
      : generation(std::move(from)), sampler(std::move(with)), writer(tokenizer, generation, max_tokens) {}

  std::shared_ptr<Generation> generation;
  Sampler sampler;
  AnswerWriter writer;
  std::size_t tenant = 0;
  std::vector<TokenId> tokens{};       // prompt and answer
  std::optional<PolicySpec> policy{};  // its own or the server's
  std::optional<Sequence> sequence{};  // while it runs
  std::vector<float> logits{};
  GenerationUsage usage{};
  GenerationTiming timing{};
  ServeClock::time_point arrived{}, opened{}, reopened{}, last_token{};  // opened for the first time, for the last

  std::size_t generated() const { return tokens.size() - usage.prompt_tokens; }
  std::span<const TokenId> prompt() const { return std::span(tokens).first(usage.prompt_tokens); }
};

// Prefixes that an operator declares public. Every tenant's cache holds their whole blocks from the start and for good,
// so a hit on one tells a tenant nothing about another one. A rest that fills no block is not held.
struct HeldPrefixes {
  std::vector<Sequence> sequences{};  // what they hold is not evicted; must go before the engine does
  std::vector<Digest> keys{};         // each block once
  std::size_t bytes = 0;
};

// Loads or computes them. Errors: kOutOfBudget when they would take more than half of the engine's KV budget,
// kInvalidArgument for tokens that the model does not know, kTooLong beyond the context.
Result<HeldPrefixes> hold_prefixes(Engine& engine, std::span<const std::vector<TokenId>> prefixes);

struct ServeTenant {
  std::string name;
  TenantLimits limits;
  std::unique_ptr<Engine> engine;  // a sibling: its cache is this tenant's alone
  HeldPrefixes held{};             // part of limits.kv_bytes that is not for requests
  // Guarded by Impl::mutex.
  std::size_t waiting = 0;
  TenantState counts{};
};

struct ServeLoop::Impl {
  struct Submitted {
    SchedRequest request;
    std::shared_ptr<Generation> generation;
    Sampler sampler;
  };

  // Do not change after create().
  std::unique_ptr<Engine> engine;
  LoopOptions options;
  std::vector<ServeTenant> tenants;
  std::map<std::string, std::size_t> tenant_numbers;
  std::string codec;

  // Of the loop's thread.
  std::optional<Scheduler> scheduler;
  std::map<RequestId, ActiveRequest> active;
  ServeClock::time_point begun = ServeClock::now();

  mutable std::mutex mutex;
  std::condition_variable work, idle;
  // Guarded by mutex.
  std::deque<Submitted> inbox;
  RequestId next_id = 1;
  bool stop = false, draining = false, end_all = false;
  LoopState counts;

  std::thread thread;

  Status open_tenants();
  void run();
  // Each returns whether there was anything to do.
  bool step();
  void take_inbox();
  void drop_cancelled();
  void preempt(RequestId id);
  void open(RequestId id);
  bool has_sequence(RequestId id) const {
    const auto found = active.find(id);
    return found != active.end() && found->second.sequence.has_value();
  }
  bool may_compute(RequestId id, ActiveRequest& request, bool alone);
  void compute(std::vector<BatchStep::Rows> rows);
  Status pass(std::span<const BatchStep::Rows> rows);
  std::size_t rows_of(const ActiveRequest& request, std::size_t planned) const;
  std::vector<std::pair<RequestId, Error>> end_prompts(std::span<const BatchStep::Rows> rows);
  void recover(std::span<const BatchStep::Rows> rows, const Error& error);
  void recover_one(BatchStep::Rows rows, const Error& error);
  void take_tokens(std::span<const BatchStep::Rows> rows);
  void take_token(RequestId id, Result<TokenId> token);
  void finish(RequestId id, FinishReason reason, Error error = {});
  void publish(std::size_t batch, std::size_t decode_rows, std::size_t prefill_rows);
  double now_s() const { return std::chrono::duration<double>(ServeClock::now() - begun).count(); }
};

}  // namespace cairn
