// SPDX-License-Identifier: Apache-2.0
// An engine whose cache follows a recipe: built, encoded and attended as the recipe says.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/engine/engine.h"
#include "cairn/eval/damage_tap.h"
#include "cairn/eval/recipe.h"

namespace cairn {

struct CacheCost {
  double bytes_per_token = 0;  // all pages of the sequence over its tokens, open tail and rounding included
  double bits_per_value = 0;   // a full page over its values, metadata included
};

// Thread-compatible; shares weights and threads with the engine it was made from, so one of them may compute at a time.
class JudgedEngine {
 public:
  // `options` gives budget and context; codec, tap and reuse come from the recipe. Errors: those of Engine::sibling,
  // kInvalidArgument when the recipe asks for more KV heads than there are.
  static Result<std::unique_ptr<JudgedEngine>> make(const Engine& family, const EvalRecipe& recipe,
                                                    EngineOptions options);

  const EvalRecipe& recipe() const { return recipe_; }
  Engine& engine() { return *engine_; }

  // Empty, without reuse of earlier sequences: each must pay for its own blocks.
  Sequence open() { return engine_->open({}); }

  // Engine::forward; then blocks that became full lose what the recipe drops.
  Status forward(std::span<const ForwardRows> batch);

  // Computes `tokens`, cut at block borders, so that each block attends to what is left of the blocks before it.
  // The logits of the last token, valid until the next call. Requires: tokens not empty. Errors: those of forward;
  // kCancelled, checked between blocks.
  Result<std::span<const float>> extend(Sequence& sequence, std::span<const TokenId> tokens,
                                        const std::atomic<bool>* cancel = nullptr);

  // The context is complete: encodes it under a plan with exact prefill, then hides what the recipe evicts, but neither
  // the first token, which attention sinks into, nor any of the first `pinned` ones.
  Status finish_context(Sequence& sequence, std::size_t pinned);

  CacheCost cost(const Sequence& sequence);

 private:
  explicit JudgedEngine(EvalRecipe recipe) : recipe_(std::move(recipe)) {}
  Status hide_share(Sequence& sequence, std::size_t first, std::size_t end, double share);

  EvalRecipe recipe_;
  std::unique_ptr<DamageTap> tap_;  // before the engine, which points to it
  std::unique_ptr<Engine> engine_;
  std::vector<float> logits_;
};

}  // namespace cairn
