// SPDX-License-Identifier: Apache-2.0
// What the API needs of the code that generates, free of HTTP and JSON: a request, its answer on the way to the client,
// and the backend that takes requests, which is the loop or a stand-in in tests.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cairn/base/clock.h"
#include "cairn/base/result.h"
#include "cairn/block/block_key.h"
#include "cairn/cache/kv_cache.h"
#include "cairn/engine/model_config.h"
#include "cairn/generation.h"
#include "cairn/policy/policy.h"
#include "cairn/store/store.h"
#include "cairn/text/sampler.h"
#include "cairn/text/tokenizer.h"

namespace cairn {

struct GenerateRequest {
  std::string id{};      // for logs and the page: "chatcmpl-..."
  std::string tenant{};  // from the credential, never from the request
  std::vector<TokenId> prompt{};
  // Of the prompt's leading whole blocks for this tenant, as far as they are known from another request's Generation;
  // the backend adds the rest. So several answers to one prompt hash it once.
  std::vector<Digest> keys{};
  std::size_t max_tokens = 0;  // 0: as many as the context holds
  SamplerOptions sampler{};
  std::vector<std::string> stop{};  // the text ends before the first of them
  bool ignore_eos = false;
  std::optional<std::uint32_t> logprobs{};  // of each token, and of this many of the likeliest
  bool chat = false;                        // plain text continues the prompt; an answer begins anew
  bool own_policy = false;                  // `policy` instead of the server's; if that is empty, none
  std::optional<PolicySpec> policy{};
};

struct TokenLogprob {
  TokenId id = 0;
  float logprob = 0;
};

// A token and the text that became certain with it: none while a character is incomplete or a stop string may have
// begun.
struct GeneratedPiece {
  std::string text{};
  TokenId id = 0;
  bool has_token = false;  // false: text that was held back, at the end
  std::optional<TokenLogprob> logprob{};
  std::vector<TokenLogprob> top_logprobs{};  // likeliest first
};

enum class FinishReason : std::uint8_t {
  kStop,       // the model or a stop string ended it
  kLength,     // max_tokens, or the context is full
  kCancelled,  // the client went away, or the server stops
  kError,      // see GenerationResult::error
};

// Where the time went, in seconds. `queued` until the sequence was opened for the first time.
struct GenerationTiming {
  double queued_s = 0, load_s = 0, prefill_s = 0, first_token_s = 0, total_s = 0;
  double longest_gap_s = 0;  // between two tokens
};

struct GenerationUsage {
  std::size_t prompt_tokens = 0;
  std::size_t cached_tokens = 0;  // of the prompt, not computed: from memory or a store
  std::size_t stored_tokens = 0;  // of these, from the store
  std::size_t known_tokens = 0;   // in memory; where this is more than `cached`, a window's pages were gone
  std::size_t completion_tokens = 0;
  std::size_t preempted = 0;  // how often it had to make room
  PolicyFigures policy{};     // of the sequence as it ended
};

struct GenerationResult {
  FinishReason reason = FinishReason::kStop;
  std::string error;  // with kError: one line
  ErrorCode error_code = ErrorCode::kInternal;
  GenerationUsage usage;
  GenerationTiming timing;
};

// One answer on its way to a client. Thread-safe: the backend pushes, one client takes.
class Generation {
 public:
  explicit Generation(GenerateRequest request) : request_(std::move(request)) {}

  const GenerateRequest& request() const { return request_; }

  enum class Event : std::uint8_t { kPiece, kFinished, kTimeout };
  // The next piece; kFinished when there is none any more; kTimeout when the deadline comes first.
  Event next(GeneratedPiece& piece, Deadline deadline);
  // Requires: next() said kFinished.
  const GenerationResult& result() const { return *result_; }

  // The loop lets go of the request soon; pieces that come meanwhile are dropped.
  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }

  // For the loop. Usage is known from the beginning of the answer on.
  void push(GeneratedPiece piece);
  void finish(GenerationResult result);

 private:
  const GenerateRequest request_;
  std::atomic<bool> cancelled_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_; result_ does not change once it is set.
  std::deque<GeneratedPiece> pieces_;
  std::optional<GenerationResult> result_;
};

inline Generation::Event Generation::next(GeneratedPiece& piece, Deadline deadline) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_until(lock, deadline, [&] { return !pieces_.empty() || result_; })) return Event::kTimeout;
  if (pieces_.empty()) return Event::kFinished;
  piece = std::move(pieces_.front());
  pieces_.pop_front();
  return Event::kPiece;
}

inline void Generation::push(GeneratedPiece piece) {
  if (cancelled()) return;
  {
    const std::lock_guard lock(mutex_);
    pieces_.push_back(std::move(piece));
  }
  changed_.notify_all();
}

inline void Generation::finish(GenerationResult result) {
  {
    const std::lock_guard lock(mutex_);
    result_ = std::move(result);
  }
  changed_.notify_all();
}

// What the page and /metrics show. Counters grow for ever.
struct TenantState {
  std::string name;
  std::size_t running = 0, waiting = 0;
  std::uint64_t requests = 0, prompt_tokens = 0, cached_tokens = 0, stored_tokens = 0, generated_tokens = 0;
  KvCacheStats cache;
  std::size_t kv_budget = 0;
  std::size_t kv_public = 0;  // of kv_budget: what the public prefixes take for good
};

struct LoopState {
  std::size_t running = 0, waiting = 0, max_running = 0;
  std::uint64_t passes = 0, rows = 0, prefill_rows = 0, decode_rows = 0;
  std::uint64_t preempted = 0, finished = 0, cancelled = 0, failed = 0, refused = 0;
  std::size_t last_batch = 0;  // requests in the last pass
  std::size_t max_rows = 0;    // of a pass
  std::string codec;
  std::vector<TenantState> tenants;
};

using HeldBlock = IndexedBlock;

// Thread-safe.
class GenerateBackend {
 public:
  virtual ~GenerateBackend() = default;

  // Queues a request. Errors: kInvalidArgument (no tokens, sampling out of range, unknown tenant), kUnsupported (its
  // policy is one that the model or the codec cannot follow), kTooLong (prompt and max_tokens exceed the context),
  // kOutOfBudget (it could never fit the tenant's KV budget), kBusy (too many wait, or draining).
  virtual Result<std::shared_ptr<Generation>> submit(GenerateRequest request) = 0;
  // How many requests of a tenant may be submitted at once when no others wait.
  virtual std::size_t max_at_once(const std::string& tenant) const = 0;

  // Takes no more requests and waits for those that run; the others end as kCancelled at the deadline. Flushes the
  // store.
  virtual void drain(Deadline deadline) = 0;
  virtual bool draining() const = 0;

  virtual LoopState state() const = 0;
  // At most `most` blocks of a tenant's index, parents before children.
  virtual std::vector<HeldBlock> held_blocks(const std::string& tenant, std::size_t most) const = 0;

  virtual const Tokenizer& tokenizer() const = 0;
  virtual const ModelConfig& config() const = 0;
  virtual std::uint32_t context() const = 0;
  virtual Store* store() const = 0;  // null without one
};

}  // namespace cairn
