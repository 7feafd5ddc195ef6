// SPDX-License-Identifier: Apache-2.0
// A model's weights in memory, ready for products. Quantised matrices keep the file's codes and scales, interleaved for
// SIMD (kernels/panel.h); the file's own pages are given back as each tensor is taken over.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/aligned_buffer.h"
#include "cairn/base/hash.h"
#include "cairn/base/result.h"
#include "cairn/base/thread_pool.h"
#include "cairn/block/block_key.h"
#include "cairn/engine/linear.h"
#include "cairn/engine/model_config.h"
#include "cairn/engine/model_digest.h"
#include "cairn/gguf/gguf.h"

namespace cairn {

// One feed-forward: down(activation(gate) * up).
struct GatedFfn {
  Linear gate, up, down;                                   // down: [width, ffn]
  std::vector<float> gate_bias{}, up_bias{}, down_bias{};  // [ffn], [ffn], [width]; empty without biases
};

// Of latent attention, in the place of q, k and v.
struct LatentWeights {
  Linear q_a;                    // [q_rank, width]; of no rows where queries come straight from the layer's input
  std::vector<float> q_a_norm;   // [q_rank]
  Linear q;                      // [heads * (plain + turning), q_rank or width]
  Linear kv_a;                   // [rank + turning, width]
  std::vector<float> kv_a_norm;  // [rank]
  std::vector<Linear> k_b;       // by head: [rank, plain], which takes a query to what meets the latent
  std::vector<Linear> v_b;       // by head: [value, rank]
};

struct LayerWeights {
  std::vector<float> attn_norm, ffn_norm;            // [width]
  std::vector<float> attn_post_norm, ffn_post_norm;  // [width]; empty without norms after the blocks
  std::vector<float> q_bias, k_bias, v_bias;  // [heads * head_dim] or [kv_heads * head_dim]; empty without biases
  std::vector<float> q_norm, k_norm;          // as QkNorm says; empty without norms
  std::vector<float> output_bias;             // [width]; empty without one
  std::vector<float> sinks;                   // [heads], as AttendLayer has them; empty without sinks
  Linear q, k, v, output;          // output: [width, heads * head_dim]; no k and v where another layer's are read
  LatentWeights latent;            // then output is [width, heads * value]
  GatedFfn ffn;                    // of a model without experts
  Linear router;                   // [experts, width]
  std::vector<float> router_bias;  // [experts]; empty without one
  std::vector<GatedFfn> experts;
  GatedFfn shared;                 // the expert that all tokens go through
  Linear shared_gate;              // [1, width]; of no rows where that expert is always open
  std::vector<float> choice_bias;  // [experts], added to probabilities while experts are chosen; empty without
};

// Immutable after loading: products only read it. Any number of threads may compute with it, each with a LinearEngine
// and a thread pool of its own. Owns the mapped file and the panels that every Linear views.
class ModelWeights {
 public:
  // Takes every tensor over; `progress` (may be empty) gets the fraction done, from the calling thread. Requires: the
  // config came from this file. Errors: kOutOfBudget (no memory), kCorrupt (a tensor holds what is no finite number),
  // kUnsupported, kInternal.
  static Result<std::unique_ptr<ModelWeights>> load(GgufFile file, const ModelConfig& config, ThreadPool& pool,
                                                    const std::function<void(double)>& progress);

  const ModelConfig& config() const { return config_; }
  const Digest& digest() const { return digest_; }
  // Names whatever the bits of keys and values depend on besides weights and tokens.
  std::string arithmetic() const;
  // Bytes that the weights occupy in memory, vectors too.
  std::size_t bytes() const { return bytes_; }

  // One row of token_embd, read from the file, times the model's scale. Requires: 0 <= token < vocab.
  void embedding(std::int32_t token, float* out) const;

  std::vector<LayerWeights>& layers() { return layers_; }
  const std::vector<float>& output_norm() const { return output_norm_; }
  const Linear& output() const { return output_; }

 private:
  class Loader;
  ModelWeights(GgufFile file, const ModelConfig& config) : file_(std::move(file)), config_(config) {}

  GgufFile file_;
  ModelConfig config_;
  Digest digest_;
  std::size_t bytes_ = 0;
  bool has_dense_ = false;
  MappedMemory panels_;
  const GgufTensor* embedding_ = nullptr;
  WeightFormat embedding_format_ = WeightFormat::kF32;
  std::vector<LayerWeights> layers_;
  std::vector<float> output_norm_;
  Linear output_;
};

// What decides the bytes of the blocks that a model computes, as block identity wants it. `codec_plan` as
// CodecPlan::canonical() writes it.
Recipe model_recipe(const ModelConfig& config, const Digest& weights, const Digest& tokenizer, std::string codec_plan,
                    std::string arithmetic);

}  // namespace cairn
