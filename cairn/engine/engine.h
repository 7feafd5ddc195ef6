// SPDX-License-Identifier: Apache-2.0
// A loaded model with its KV cache: the facade that programs use.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cairn/attention/signals.h"
#include "cairn/base/result.h"
#include "cairn/base/thread_pool.h"
#include "cairn/block/block_key.h"
#include "cairn/cache/kv_cache.h"
#include "cairn/cache/kv_connector.h"
#include "cairn/engine/forward.h"
#include "cairn/engine/weights.h"
#include "cairn/gguf/gguf.h"
#include "cairn/policy/policy.h"
#include "cairn/text/tokenizer.h"

namespace cairn {

struct EngineOptions {
  unsigned threads = 0;                                // 0: one per core
  std::size_t kv_budget_bytes = std::size_t{2} << 30;  // all pages: live sequences and reusable prefixes
  std::uint32_t context = 0;                           // most tokens of a sequence; 0: the model's
  std::string codec = "raw_f16";                       // a plan, see make_plan()
  std::shared_ptr<const CodecPlan> plan{};             // instead of `codec`, if not null
  std::string policy{};                                // of every sequence, see parse_policy(); empty: none
  bool reuse = true;                                   // keep prefixes of finished sequences
  bool keeps_prefixes = true;                          // and under a policy what it keeps of them, see KvCacheOptions
  std::string eviction = "lru";                        // which of their blocks goes next, see make_chain_policy()
  OffloadPlace offload{};                              // where policies move what is not read
  const KvTap* tap = nullptr;                          // changes what is cached; must outlive the engine
  SignalListener* listener = nullptr;                  // is told what passes compute; must outlive the engine
  std::string tenant{};                                // prefixes are never shared between tenants
  std::shared_ptr<Store> store{};                      // where prefixes outlive the engine; needs reuse
  bool break_even = true;                              // do not load what is faster to compute
  std::function<void(double fraction)> on_load{};      // called while weights load
};

// What long calls report and obey; both may be left empty.
struct PrefillControl {
  std::function<void(std::size_t done, std::size_t total)> on_progress{};
  const std::atomic<bool>* cancel = nullptr;  // checked between chunks; the sequence keeps what was computed
};

// Thread-compatible; sequences from open() belong to this engine's cache.
class Engine {
 public:
  // Errors: those of GgufFile::open, ModelConfig, the tokenizer and the weights; those of make_plan for the codec;
  // kUnsupported for a CAIRN_ISA that is not available here; kInvalidArgument for too many threads; kOutOfBudget when
  // the KV budget is too small.
  static Result<std::unique_ptr<Engine>> load(const std::string& path, const EngineOptions& options);

  // Another engine over the same weights and threads, with a cache of its own; options.threads and on_load do not
  // matter. Weights are only read, but the thread pool serves one caller at a time, so only one of a family may compute
  // at a time. Errors: those of load that concern the cache.
  Result<std::unique_ptr<Engine>> sibling(const EngineOptions& options) const;

  const ModelConfig& config() const { return weights_->config(); }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const Recipe& recipe() const { return recipe_; }
  const std::optional<PolicySpec>& policy() const { return policy_; }
  KvCache& cache() { return *cache_; }
  KvConnector* connector() const { return connector_.get(); }  // null without a store
  std::uint32_t context() const { return context_; }
  unsigned threads() const { return pool_->size(); }
  ThreadPool& pool() { return *pool_; }  // idle between calls of this engine and its siblings
  std::size_t weight_bytes() const { return weights_->bytes(); }

  // A sequence that holds the longest cached prefix of `prompt`, at most all but its last token, and has the engine's
  // policy, which may want to see the queries of the last tokens. `keys` as for KvCache::open.
  Sequence open(std::span<const TokenId> prompt, std::span<const Digest> keys = {}) {
    return open(prompt, keys, policy_);
  }

  // The same without waiting for blocks that a store has: prefill of the rest of the prompt takes them as they come, so
  // that the sequence grows by more than it computes. For what was reused see Sequence::reused_tokens() afterwards.
  Sequence open_while_loading(std::span<const TokenId> prompt, std::span<const Digest> keys = {}) {
    return open_while_loading(prompt, keys, policy_);
  }

  // Whether sequences of this engine can have this policy: KvCache::check_policy, and kInvalidArgument where its
  // profile is for another model.
  Status check_policy(const PolicySpec& policy) const;

  // Both with a policy that is this sequence's alone, or with none, whatever the engine's is. Requires:
  // check_policy().
  Sequence open(std::span<const TokenId> prompt, std::span<const Digest> keys, const std::optional<PolicySpec>& policy);
  Sequence open_while_loading(std::span<const TokenId> prompt, std::span<const Digest> keys,
                              const std::optional<PolicySpec>& policy);

  // What of the KV budget a sequence takes at the worst moment on its way from `from` tokens to `to`, with passes as
  // long as they may be. Blocks that it shares count too.
  PlannedBytes planned_bytes(const PolicySpec* policy, std::size_t prompt, std::size_t from, std::size_t to) const;

  // Computes `tokens` at the end of the sequence, in chunks; returns the logits of the last one, valid until the next
  // call. Errors: kInvalidArgument (no tokens, ids outside the vocabulary), kTooLong (the context would be exceeded;
  // nothing was computed), kOutOfBudget (nothing was computed if the budget could never hold the sequence, as its
  // policy keeps it; else, and with kCancelled, the chunks done so far stay).
  Result<std::span<const float>> prefill(Sequence& sequence, std::span<const TokenId> tokens,
                                         const PrefillControl& control = {});

  // The prompt of this sequence ends here, for a plan with exact prefill and for its policy; prefill() does it itself.
  // Errors: those of Sequence::finish_prefill and replay_prompt.
  Status finish_prompt(Sequence& sequence);

  // One more token of one sequence, no prompt: under a policy its queries may read less. Errors: those of prefill.
  Result<std::span<const float>> decode(Sequence& sequence, TokenId token) {
    return compute(sequence, {&token, 1}, {});
  }

  // Any mixture of sequences and tokens in one pass, at most Forward::kMaxRows tokens. Errors: those of Forward::run,
  // and kTooLong when a sequence would exceed the context.
  Status forward(std::span<const ForwardRows> batch);

 private:
  Engine() = default;
  Status open_cache(const EngineOptions& options);
  Status check_context(std::size_t tokens) const;
  Status check_budget(const Sequence& sequence, std::size_t tokens) const;
  Result<std::span<const float>> compute(Sequence& sequence, std::span<const TokenId> tokens,
                                         const PrefillControl& control);

  std::shared_ptr<ThreadPool> pool_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::shared_ptr<ModelWeights> weights_;
  Recipe recipe_;
  std::shared_ptr<KvConnector> connector_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<Forward> forward_;
  std::optional<PolicySpec> policy_;
  std::uint32_t context_ = 0;
  std::vector<float> logits_;
};

}  // namespace cairn
