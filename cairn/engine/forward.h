// SPDX-License-Identifier: Apache-2.0
// One pass of new tokens through the model, on the paged cache. Tokens of several sequences may share a pass; each
// token's logits have the same bits in any company (docs/architecture.md, "One arithmetic").
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cairn/base/aligned_buffer.h"
#include "cairn/base/result.h"
#include "cairn/base/thread_pool.h"
#include "cairn/cache/sequence.h"
#include "cairn/engine/kv_tap.h"
#include "cairn/engine/layer_attention.h"
#include "cairn/engine/linear.h"
#include "cairn/engine/weights.h"

namespace cairn {

// New tokens at the end of one sequence. Logits are wanted for the last `logit_rows` of them, [logit_rows, vocab].
struct ForwardRows {
  Sequence* sequence;
  std::span<const TokenId> tokens;
  std::uint32_t logit_rows = 0;
  float* logits = nullptr;
};

// Holds the activations; thread-compatible.
class Forward {
 public:
  // More rows than this in one pass only cost memory.
  static constexpr std::uint32_t kMaxRows = 256;

  // `tap` may be nullptr; it must outlive this.
  Forward(ModelWeights& weights, ThreadPool& pool, const KvTap* tap = nullptr);

  // Requires: each sequence at most once. Either every sequence grew by its tokens, or none changed. Errors:
  // kInvalidArgument (no tokens, too many, ids outside the vocabulary, logits without room), kOutOfBudget (from the
  // cache), kIo (blocks that a sequence has joined did not arrive: it says so in lost_blocks()).
  Status run(std::span<const ForwardRows> batch);

 private:
  struct Row {
    const ForwardRows* source;
    std::uint32_t offset;  // among the new tokens of its sequence
    float* logits;         // nullptr when not wanted
  };

  Status reserve(std::span<const ForwardRows> batch);
  Status compute(std::span<const ForwardRows> batch);
  void embed();
  Status attention_block(std::uint32_t l, std::span<const ForwardRows> batch);
  void rotate(const LayerWeights& layer);
  void attend(std::uint32_t l, std::span<const ForwardRows> batch);
  void keep_logit_rows(float* per_head);
  Status feed_forward(LayerWeights& layer);
  Status write_logits();
  void norm_rows(const float* weight);
  void add_rows(const float* y);

  ModelWeights& weights_;
  const ModelConfig& config_;
  ThreadPool& pool_;
  const KvTap* tap_;
  LinearEngine linear_;
  LayerAttention attention_;
  std::vector<double> frequencies_;

  // Of the pass in progress. `rows_` shrinks to those with logits once the last layer's keys are stored.
  std::vector<Row> rows_;
  std::vector<std::int32_t> positions_;
  std::vector<std::size_t> tokens_;
  std::vector<LayerRows> layer_rows_;
  Scratch<float> x_, normed_, q_, k_, v_, attended_, projected_, gate_, up_, cos_, sin_, logits_;
};

}  // namespace cairn
