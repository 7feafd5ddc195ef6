// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/judged_engine.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "cairn/base/random.h"

namespace cairn {

Result<std::unique_ptr<JudgedEngine>> JudgedEngine::make(const Engine& family, const EvalRecipe& recipe,
                                                         EngineOptions options) {
  const ModelConfig& config = family.config();
  if (recipe.zero_heads > config.kv_heads) {
    return fail(ErrorCode::kInvalidArgument,
                "recipe '" + recipe.text + "': the model has only " + std::to_string(config.kv_heads) + " KV heads");
  }
  std::unique_ptr<JudgedEngine> judged(new JudgedEngine(recipe));
  if (recipe.changes_rows()) {
    judged->tap_ = std::make_unique<DamageTap>(recipe, PageShape{config.kv_heads, config.head_dim}, config.rope);
  }
  options.codec = recipe.codec;
  options.plan = recipe.plan;
  options.tap = judged->tap_.get();
  options.reuse = false;
  CAIRN_TRY(judged->engine_, family.sibling(options));
  judged->logits_.resize(config.vocab);
  return judged;
}

Status JudgedEngine::forward(std::span<const ForwardRows> batch) {
  CAIRN_TRY_VOID(engine_->forward(batch));
  if (recipe_.drop == 0) return {};
  for (const ForwardRows& part : batch) {
    const std::size_t before = (part.sequence->size() - part.tokens.size()) / kBlockTokens;
    for (std::size_t b = before; b < part.sequence->size() / kBlockTokens; ++b) {
      CAIRN_TRY_VOID(hide_share(*part.sequence, b * kBlockTokens, (b + 1) * kBlockTokens, recipe_.drop));
    }
  }
  return {};
}

Result<std::span<const float>> JudgedEngine::extend(Sequence& sequence, std::span<const TokenId> tokens,
                                                    const std::atomic<bool>* cancel) {
  while (!tokens.empty()) {
    if (cancel != nullptr && cancel->load(std::memory_order_relaxed)) {
      return fail(ErrorCode::kCancelled, "stopped with " + std::to_string(tokens.size()) + " tokens to go");
    }
    const std::size_t count = std::min(tokens.size(), kBlockTokens - sequence.size() % kBlockTokens);
    const bool last = count == tokens.size();
    const ForwardRows rows[] = {{&sequence, tokens.first(count), last ? 1u : 0u, logits_.data()}};
    CAIRN_TRY_VOID(forward(rows));
    tokens = tokens.subspan(count);
  }
  return std::span<const float>(logits_);
}

Status JudgedEngine::finish_context(Sequence& sequence, std::size_t pinned) {
  CAIRN_TRY_VOID(sequence.finish_prefill(engine_->pool()));
  const std::size_t spared = std::max<std::size_t>(pinned, 1);  // models park attention on the first token
  return hide_share(sequence, std::min(spared, sequence.size()), sequence.size(), recipe_.evict);
}

Status JudgedEngine::hide_share(Sequence& sequence, std::size_t first, std::size_t end, double share) {
  std::vector<std::size_t> tokens(end - first);
  std::iota(tokens.begin(), tokens.end(), first);
  const auto hidden = static_cast<std::size_t>(std::lround(share * static_cast<double>(tokens.size())));
  if (hidden == 0) return {};
  std::uint64_t content = 0;
  for (const std::size_t t : tokens)
    content = content * 0x100000001b3u + static_cast<std::uint64_t>(sequence.tokens()[t]);
  SeededRandom(content, "hide", first, end).shuffle(tokens);
  return sequence.hide(std::span(tokens).first(hidden));
}

CacheCost JudgedEngine::cost(const Sequence& sequence) {
  const KvCacheOptions& options = engine_->cache().options();
  return {.bytes_per_token = static_cast<double>(sequence.bytes_held()) / static_cast<double>(sequence.size()),
          .bits_per_value = options.plan.mean_bits(options.layers.front().shape)};
}

}  // namespace cairn
