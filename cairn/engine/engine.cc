// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/engine.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "cairn/base/clock.h"
#include "cairn/block/shape.h"
#include "cairn/engine/replay.h"
#include "cairn/kernels/kernels.h"
#include "cairn/policy/budget_profile.h"
#include "cairn/policy/scorer.h"
#include "cairn/text/punctuation.h"

namespace cairn {
namespace {

// More would only wait for each other.
constexpr unsigned kMaxThreads = 512;

// `model` is null while the digest of the weights is not known.
Result<KvCacheOptions> cache_options(const ModelConfig& config, const Digest* model, const EngineOptions& options,
                                     std::shared_ptr<const Tokenizer> tokenizer) {
  std::vector<LayerSpec> layers = model_layers(config);
  CodecPlan plan;
  if (options.plan != nullptr) {
    plan = *options.plan;
  } else {
    CAIRN_TRY(plan, make_plan(options.codec, {config.layers, layers.front().shape, model}));
  }
  return KvCacheOptions{.plan = std::move(plan),
                        .layers = std::move(layers),
                        .root = {},
                        .budget_bytes = options.kv_budget_bytes,
                        .index_budget_bytes = options.reuse ? options.kv_budget_bytes : 0,
                        .keeps_prefixes = options.keeps_prefixes,
                        .connector = {},
                        .is_punctuation = [tokenizer = std::move(tokenizer)](
                                              TokenId id) { return is_punctuation_text(tokenizer->token_bytes(id)); },
                        .eviction = options.eviction,
                        .offload = options.offload};
}

// Between looks at how fast blocks come.
constexpr std::chrono::milliseconds kLook(50);

}  // namespace

Result<std::unique_ptr<Engine>> Engine::load(const std::string& path, const EngineOptions& options) {
  if (!forced_isa_error().empty()) return fail(ErrorCode::kUnsupported, std::string(forced_isa_error()));
  if (options.threads > kMaxThreads) {
    return fail(ErrorCode::kInvalidArgument, std::to_string(options.threads) + " threads are too many: at most " +
                                                 std::to_string(kMaxThreads) + ", 0 for one per core");
  }
  CAIRN_TRY(GgufFile file, GgufFile::open(path));
  CAIRN_TRY(const ModelConfig config, ModelConfig::from_gguf(file));
  CAIRN_TRY(TokenizerData tokenizer_data, read_tokenizer_data(file));
  std::unique_ptr<Engine> engine(new Engine());
  CAIRN_TRY(engine->tokenizer_, make_tokenizer(std::move(tokenizer_data)));
  if (engine->tokenizer_->size() != config.vocab) {
    return fail(ErrorCode::kCorrupt, "the tokenizer has " + std::to_string(engine->tokenizer_->size()) +
                                         " tokens but the model has " + std::to_string(config.vocab));
  }
  engine->pool_ = std::make_shared<ThreadPool>(options.threads);
  if (engine->pool_->size() < options.threads) {
    return fail(ErrorCode::kIo, "the system started only " + std::to_string(engine->pool_->size()) + " of " +
                                    std::to_string(options.threads) + " threads; ask for fewer");
  }
  // Before time is spent on the weights, which the root depends on.
  CAIRN_TRY(const KvCacheOptions early, cache_options(config, nullptr, options, engine->tokenizer_));
  CAIRN_TRY_VOID(KvCache::check(early));
  if (!options.policy.empty()) {
    CAIRN_TRY(const PolicySpec policy, parse_policy(options.policy));
    CAIRN_TRY_VOID(KvCache::check_policy(early, policy));
  }
  CAIRN_TRY(engine->weights_, ModelWeights::load(std::move(file), config, *engine->pool_, options.on_load));
  CAIRN_TRY_VOID(engine->open_cache(options));
  return engine;
}

Result<std::unique_ptr<Engine>> Engine::sibling(const EngineOptions& options) const {
  std::unique_ptr<Engine> engine(new Engine());
  engine->pool_ = pool_;
  engine->tokenizer_ = tokenizer_;
  engine->weights_ = weights_;
  CAIRN_TRY_VOID(engine->open_cache(options));
  return engine;
}

Status Engine::open_cache(const EngineOptions& options) {
  CAIRN_TRY(KvCacheOptions cache, cache_options(config(), &weights_->digest(), options, tokenizer_));
  recipe_ =
      model_recipe(config(), weights_->digest(), tokenizer_->digest(), cache.plan.canonical(), weights_->arithmetic());
  if (options.tap != nullptr) recipe_.codec_plan += " tap=" + options.tap->name();
  cache.root = chain_root(recipe_fingerprint(recipe_), options.tenant);
  if (options.store != nullptr && options.reuse) {
    connector_ = std::make_shared<KvConnector>(KvConnectorOptions{.store = options.store,
                                                                  .recipe = recipe_fingerprint(recipe_),
                                                                  .recipe_text = recipe_text(recipe_),
                                                                  .tenant = options.tenant,
                                                                  .break_even = options.break_even});
    cache.connector = connector_;
  }
  if (!options.policy.empty()) {
    CAIRN_TRY(policy_, parse_policy(options.policy));
    CAIRN_TRY_VOID(KvCache::check_policy(cache, *policy_));
    CAIRN_TRY_VOID(check_profile_model(*policy_, weights_->digest()));
  }
  CAIRN_TRY(cache_, KvCache::create(cache));
  forward_ = std::make_unique<Forward>(*weights_, cache_->options().layers, *pool_, options.tap, options.listener);
  context_ = options.context == 0 ? config().context : options.context;
  logits_.resize(config().vocab);
  return {};
}

Status Engine::check_policy(const PolicySpec& policy) const {
  CAIRN_TRY_VOID(KvCache::check_policy(cache_->options(), policy));
  return check_profile_model(policy, weights_->digest());
}

Sequence Engine::open(std::span<const TokenId> prompt, std::span<const Digest> keys,
                      const std::optional<PolicySpec>& policy) {
  return cache_->open(prompt, keys, policy ? &*policy : nullptr);
}

Sequence Engine::open_while_loading(std::span<const TokenId> prompt, std::span<const Digest> keys,
                                    const std::optional<PolicySpec>& policy) {
  return cache_->open_while_loading(prompt, keys, policy ? &*policy : nullptr);
}

Status Engine::check_context(std::size_t tokens) const {
  if (tokens <= context_) return {};
  return fail(ErrorCode::kTooLong, std::to_string(tokens) + " tokens exceed the context of " +
                                       std::to_string(context_) + "; shorten the prompt or raise --ctx");
}

Status Engine::forward(std::span<const ForwardRows> batch) {
  for (const ForwardRows& part : batch) CAIRN_TRY_VOID(check_context(part.sequence->size() + part.tokens.size()));
  return forward_->run(batch);
}

PlannedBytes Engine::planned_bytes(const PolicySpec* policy, std::size_t prompt, std::size_t from,
                                   std::size_t to) const {
  const bool replays =
      policy != nullptr && policy->scorer != nullptr && policy->scorer->needs.probes == Probes::kReplay;
  // A part of the prompt, what asks to repeat it, and a copy of the prompt's tail.
  const std::size_t replayed = replays ? std::min(prompt, kReplayTokens) + 2 * kBlockTokens : 0;
  return cache_->planned_bytes(
      policy, {.prompt = prompt, .from = from, .to = to, .rows = Forward::kMaxRows, .replayed = replayed});
}

// Before minutes are spent on the part that fits.
Status Engine::check_budget(const Sequence& sequence, std::size_t tokens) const {
  const std::size_t prompt = sequence.prompt_tokens() == 0 ? tokens : sequence.prompt_tokens();
  const PlannedBytes planned = planned_bytes(sequence.policy(), prompt, sequence.size(), tokens);
  const std::size_t needed = std::max(planned.whole, planned.packed), budget = cache_->options().budget_bytes;
  if (needed <= budget) return {};
  return fail(ErrorCode::kOutOfBudget, std::to_string(tokens) + " tokens need " + std::to_string(needed) +
                                           " bytes of keys and values, but the KV cache budget is " +
                                           std::to_string(budget) + "; raise it or shorten the prompt");
}

Status Engine::finish_prompt(Sequence& sequence) {
  CAIRN_TRY_VOID(replay_prompt(*this, sequence));
  return sequence.finish_prefill(*pool_);
}

Result<std::span<const float>> Engine::prefill(Sequence& sequence, std::span<const TokenId> tokens,
                                               const PrefillControl& control) {
  sequence.begin_prompt();
  return compute(sequence, tokens, control);
}

// Chunk by chunk, while a store may still be loading some of it.
Result<std::span<const float>> Engine::compute(Sequence& sequence, std::span<const TokenId> tokens,
                                               const PrefillControl& control) {
  if (tokens.empty()) return fail(ErrorCode::kInvalidArgument, "there are no tokens to compute");
  const std::size_t base = sequence.size(), end = base + tokens.size();
  CAIRN_TRY_VOID(check_context(end));
  CAIRN_TRY_VOID(check_budget(sequence, end));
  sequence.begin_prefill();
  std::size_t max_rows = Forward::kMaxRows;
  while (sequence.size() < end) {
    if (control.cancel != nullptr && control.cancel->load(std::memory_order_relaxed)) {
      return fail(ErrorCode::kCancelled, "stopped after " + std::to_string(sequence.size() - base) + " of " +
                                             std::to_string(tokens.size()) + " tokens");
    }
    while (sequence.poll_load({.chunk = Forward::kMaxRows, .look = kLook}) == LoadStep::kWait) {
    }
    const std::span<const TokenId> left = tokens.subspan(sequence.size() - base);
    const std::size_t count = sequence.rows_until_retention(chunk_rows(sequence.size(), left.size(), max_rows));
    const ForwardRows rows[] = {{&sequence, left.first(count), count == left.size() ? 1u : 0u, logits_.data()}};
    const auto start = std::chrono::steady_clock::now();
    if (Status computed = forward_->run(rows); !computed) {
      const PassRemedy remedy = sequence.recover(computed.error(), count, *pool_);
      if (remedy == PassRemedy::kFewerRows) max_rows = count / 2;
      if (remedy == PassRemedy::kPollAgain || remedy == PassRemedy::kFewerRows) continue;
      // Joined blocks that the index has too are held twice until their load ends.
      if (sequence.end_load(*pool_) && remedy == PassRemedy::kMoreRoom) continue;
      return std::unexpected(sequence.explained(std::move(computed).error()));
    }
    // Shorter pieces say little about prefill.
    if (connector_ != nullptr && count >= kBlockTokens) connector_->observe_prefill(count, seconds_since(start));
    if (control.on_progress) control.on_progress(sequence.size() - base, tokens.size());
  }
  CAIRN_TRY_VOID(finish_prompt(sequence));
  return std::span<const float>(logits_);
}

}  // namespace cairn
