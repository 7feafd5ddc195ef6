// SPDX-License-Identifier: Apache-2.0
// One pass of new tokens through the model, on the paged cache. Tokens of several sequences may share a pass; each
// token's logits have the same bits in any company (docs/architecture.md, "One arithmetic").
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cairn/attention/signals.h"
#include "cairn/base/aligned_buffer.h"
#include "cairn/base/result.h"
#include "cairn/base/thread_pool.h"
#include "cairn/cache/pass.h"
#include "cairn/engine/feed_forward.h"
#include "cairn/engine/latent_attention.h"
#include "cairn/engine/linear.h"
#include "cairn/engine/rotations.h"
#include "cairn/engine/weights.h"

namespace cairn {

// Changes keys and values on their way into the cache. What only watches is a SignalListener.
//
// Called for every new token at every layer, after rotation and before the codec. Threads call at once for different
// tokens; the result may depend on the arguments alone, so that the same tokens give the same cache.
class KvTap {
 public:
  virtual ~KvTap() = default;

  // k and v are [kv_heads, head_dim]; v is null where values lie in the keys. Not called for layers that read another
  // one's keys and values.
  virtual void change(std::uint32_t layer, std::int32_t position, float* k, float* v) const = 0;

  // One text for one behaviour: it becomes part of the recipe, so that changed blocks never meet unchanged ones.
  virtual std::string name() const = 0;
};

// New tokens at the end of one sequence, or, with `slots`, tokens at these places of it, in any order: those that it
// has already are computed again (PassRows::slots). A token's place is its position. Logits are wanted for the last
// `logit_rows` rows, [logit_rows, vocab].
struct ForwardRows {
  Sequence* sequence;
  std::span<const TokenId> tokens;
  std::uint32_t logit_rows = 0;
  float* logits = nullptr;
  std::span<const std::size_t> slots{};
};

// Holds the activations; thread-compatible.
class Forward {
 public:
  // More rows than this in one pass only cost memory.
  static constexpr std::uint32_t kMaxRows = 256;

  // `layers` as model_layers() says. `tap` and `listener` may be null; they must outlive this.
  Forward(ModelWeights& weights, std::vector<LayerSpec> layers, ThreadPool& pool, const KvTap* tap = nullptr,
          SignalListener* listener = nullptr);

  // Requires: each sequence at most once. Either every sequence grew by its tokens, or none changed. Errors:
  // kInvalidArgument (no tokens, too many, ids outside the vocabulary, logits without room), those of
  // PassRunner::begin, kCorrupt (a layer's keys or values are not finite), kIo (blocks that a sequence has joined did
  // not arrive: its load_state() is kLost).
  Status run(std::span<const ForwardRows> batch);

 private:
  struct Row {
    TokenId token;
    std::uint32_t in_pass;  // its number there
    float* logits;          // nullptr when not wanted
  };

  Status take_rows(std::span<const ForwardRows> batch);
  Result<Pass> begin(std::span<const ForwardRows> batch);
  Status compute(Pass& pass);
  void embed();
  Status attention_block(std::uint32_t l, Pass& pass);
  void project(std::uint32_t l, std::size_t q_width, std::size_t kv_width);
  Status prepare_heads(std::uint32_t l);
  float score_scale(std::int32_t position) const;
  void store(std::uint32_t l, Pass& pass);
  Status attend(std::uint32_t l, Pass& pass);
  void project_attended(std::uint32_t l);
  std::uint32_t leaving_layer(const Pass& pass) const;
  void keep_logit_rows(float* per_head, std::size_t width);
  void feed_forward(LayerWeights& layer);
  void write_logits();
  void norm_rows(const float* weight);
  void add_projected(std::span<const float> bias, std::span<const float> norm);

  ModelWeights& weights_;
  const ModelConfig& config_;
  const std::vector<LayerSpec> layers_;
  ThreadPool& pool_;
  const KvTap* tap_;
  LinearEngine linear_;
  PassRunner passes_;
  Rotations rotations_;
  FeedForward feed_forward_;
  LatentAttention latent_;

  // Of the pass in progress. `rows_` shrinks to those with logits at the layer where the others have done their part.
  std::vector<Row> rows_;
  std::vector<TokenId> tokens_;
  std::vector<std::int32_t> positions_;
  std::vector<PassRows> pass_rows_;
  std::vector<std::uint32_t> query_rows_;
  std::uint32_t leave_ = 0;  // that layer
  Scratch<float> x_, normed_, q_, k_, v_, attended_, expanded_, projected_, logits_;
};

}  // namespace cairn
