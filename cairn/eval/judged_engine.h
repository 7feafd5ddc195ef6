// SPDX-License-Identifier: Apache-2.0
// An engine whose cache follows a recipe: built, encoded and attended as the recipe says, and damaged as it asks
// (docs/evaluation.md, "Recipes").
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/block/layer_spec.h"
#include "cairn/block/rope.h"
#include "cairn/block/shape.h"
#include "cairn/codec/plan.h"
#include "cairn/engine/engine.h"
#include "cairn/engine/forward.h"
#include "cairn/policy/policy.h"

namespace cairn {

// A value. The parts besides the codec and the policy are simulated: they change what attention reads, not what is
// held.
struct EvalRecipe {
  std::string text;                         // as parse_recipe writes it, one text for one meaning
  std::string codec = "raw_f16";            // with the parts of its plan, see make_plan()
  std::shared_ptr<const CodecPlan> plan{};  // instead of `codec`, if not null
  std::uint32_t value_bits = 0;             // 1 to 8: levels of a value head vector; 0 leaves values alone
  std::int32_t shift = 0;                   // positions that keys stand too early
  std::uint32_t zero_heads = 0;             // of the KV heads of every layer, from the first
  double drop = 0;                          // share of a finished block's tokens that is hidden
  double evict = 0;                         // share of a finished context's tokens that is hidden
  std::string policy{};                     // of every sequence, see parse_policy(); empty: none

  bool changes_rows() const { return value_bits != 0 || shift != 0 || zero_heads != 0; }
  // Whether it may go on from a context that another recipe of the same cache has computed: a policy may, up to the
  // first query that it looks at; nothing that simulates may.
  bool shares_contexts() const { return plan == nullptr && !changes_rows() && drop == 0 && evict == 0; }
};

// "PLAN[+PART=AMOUNT]...[+policy=NAME[/part=value]...]", PLAN as make_plan() takes it; a plan file is not read yet.
// policy=none is no policy.
// Errors: kInvalidArgument (the message lists the parts or says which amounts are possible), kUnsupported (unknown
// codec), those of parse_policy.
Result<EvalRecipe> parse_recipe(std::string_view text);

// Immutable and thread-safe.
class DamageTap final : public KvTap {
 public:
  // Requires: recipe.changes_rows().
  DamageTap(const EvalRecipe& recipe, std::span<const LayerSpec> layers);

  void change(std::uint32_t layer, std::int32_t position, float* k, float* v) const override;
  std::string name() const override { return recipe_.text; }

 private:
  struct Layer {
    PageShape shape;
    RopeShift shift;
  };
  EvalRecipe recipe_;
  std::vector<Layer> layers_;
};

struct CacheCost {
  double bytes_per_token = 0;  // all pages of the sequence over its tokens, open tail and rounding included
  double bits_per_value = 0;   // a full page over its values, metadata included
  double bytes_held = 0;       // all pages of the sequence
  double kept = 1;             // of the tokens that a policy could let go, those that it kept or demoted
  double stored_bits = 0;      // of a value in the cold form of the plan, 0 if it has none
};

// Thread-compatible; shares weights and threads with the engine it was made from, so one of them may compute at a time.
class JudgedEngine {
 public:
  // `options` gives budget and context; codec, policy and tap come from the recipe. `keep_contexts`: open() may find
  // what sequences before it have computed, where recipe.shares_contexts(). Errors: those of Engine::sibling,
  // kInvalidArgument when the recipe asks for more KV heads than there are, kUnsupported when layers or codecs cannot
  // follow its policy.
  static Result<std::unique_ptr<JudgedEngine>> make(const Engine& family, const EvalRecipe& recipe,
                                                    EngineOptions options, bool keep_contexts = false);

  // Another recipe from here on, on the same cache and what it has kept. False, and nothing changes, unless it differs
  // in the policy alone and both share contexts. Errors: kUnsupported as above.
  Result<bool> switch_to(const EvalRecipe& recipe);

  const EvalRecipe& recipe() const { return recipe_; }
  Engine& engine() { return *engine_; }

  // With the recipe's policy. Empty, or with the longest part of `prompt` that the cache has kept: what is held and
  // answered then is the same, as a hit changes no bit.
  Sequence open(std::span<const TokenId> prompt = {});

  // Engine::forward; then blocks that became full lose what the recipe drops.
  Status forward(std::span<const ForwardRows> batch);

  // Computes `tokens`, cut at block borders, so that each block attends to what is left of the blocks before it.
  // They are a prompt, which finish_context() ends. The logits of the last token, valid until the next call. Requires:
  // tokens not empty. Errors: those of forward; kCancelled, checked between blocks.
  Result<std::span<const float>> extend(Sequence& sequence, std::span<const TokenId> tokens,
                                        const std::atomic<bool>* cancel = nullptr);

  // The context is complete: encodes it under a plan with exact prefill, then hides what the recipe evicts, but neither
  // the first token, which attention sinks into, nor any of the first `pinned` ones.
  Status finish_context(Sequence& sequence, std::size_t pinned);

  CacheCost cost(const Sequence& sequence);

 private:
  explicit JudgedEngine(EvalRecipe recipe) : recipe_(std::move(recipe)) {}
  Status hide_share(Sequence& sequence, std::size_t first, std::size_t end, double share);
  Status take_policy(const std::string& text);

  EvalRecipe recipe_;
  std::optional<PolicySpec> policy_;
  std::unique_ptr<DamageTap> tap_;  // before the engine, which points to it
  std::unique_ptr<Engine> engine_;
  std::vector<float> logits_;
};

}  // namespace cairn
