// SPDX-License-Identifier: Apache-2.0
// The shape of a transformer as its file describes it, and the tensors that a model of this shape consists of.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/block/layer_spec.h"
#include "cairn/block/rope.h"
#include "cairn/gguf/gguf.h"

namespace cairn {

// What the gate of a feed-forward goes through before it meets the other half.
enum class Activation : std::uint8_t {
  kSilu,
  kGelu,         // its tanh form
  kClampedSilu,  // both halves are clamped first (Kernels::clamped_silu_mul)
};

// RMS norms of queries and keys before they are rotated.
enum class QkNorm : std::uint8_t {
  kNone,
  kHead,   // of each head, with weights [head_dim]
  kWhole,  // of all heads at once, with weights [heads * head_dim] and [kv_heads * head_dim]
};

// What makes probabilities of a router's scores. The numbers are those of `expert_gating_func`.
enum class ExpertGate : std::uint8_t {
  kSoftmax = 1,  // over all experts
  kSigmoid = 2,  // of each by itself
};

// A mixture of experts instead of one feed-forward: a router gives each expert a probability, the token goes through
// those of the greatest, and what they give is added, weighted.
struct ExpertSpec {
  std::uint32_t count = 0;       // 0: there is one feed-forward, and no router
  std::uint32_t used = 0;        // by a token, 1 to count
  std::uint32_t ffn = 0;         // width of an expert's inside
  std::uint32_t shared_ffn = 0;  // of one more that all tokens go through; 0: there is none
  bool normed = false;           // the weights of those that were chosen are divided by their sum
  float scale = 1;               // and then multiplied by this
  bool biases = false;           // of the router and of each expert's matrices: blk.N.ffn_*.bias
  bool shared_gate = false;      // that one is behind a gate of its own
  ExpertGate gate = ExpertGate::kSoftmax;
  bool choice_bias = false;  // blk.N.exp_probs_b.bias is added to probabilities while experts are chosen
  // Experts lie in this many groups of one size. Only those of the `used_groups` are chosen whose two most probable
  // experts sum highest (DeepSeek-AI 2024, "DeepSeek-V3 Technical Report").
  std::uint32_t groups = 1, used_groups = 1;

  bool operator==(const ExpertSpec&) const = default;
};

// Multi-head latent attention (DeepSeek-AI 2024, "DeepSeek-V2"): of a token one latent is cached, from which the keys
// and values of all heads could be computed, and one rotated part of the key that all heads share. Attention runs on
// these: the products that would expand the latent are taken into the query and the output instead.
struct LatentSpec {
  std::uint32_t rank = 0;    // of the latent; 0: the model has none of this
  std::uint32_t q_rank = 0;  // queries come through a vector of this length; 0: straight from the layer's input
  std::uint32_t plain = 0;   // channels of a head's query that do not turn; RopeSpec::dims more do
  std::uint32_t value = 0;   // channels of a head's value
  bool split = false;        // blk.N.attn_{k,v}_b.weight; otherwise blk.N.attn_kv_b.weight, as older files have it

  bool operator==(const LatentSpec&) const = default;
};

// One layer.
struct ModelLayer {
  LayerSpec cache;        // shape of its keys and values, window, RoPE, whose keys, values and weights it uses
  std::uint32_t ffn = 0;  // width of the feed-forward's inside
  bool mixed = false;     // its feed-forward is the mixture of experts

  bool operator==(const ModelLayer&) const = default;
};

// A value; immutable once made. Every number is in the range that from_gguf names.
struct ModelConfig {
  std::string arch;            // as in general.architecture
  std::string name;            // general.name, may be empty
  std::uint32_t layers = 0;    // how many
  std::uint32_t width = 0;     // of the residual stream
  std::uint32_t ffn = 0;       // the widest of each_layer
  std::uint32_t heads = 0;     // of queries
  std::uint32_t kv_heads = 0;  // divides heads
  std::uint32_t head_dim =
      0;  // of keys, and of values unless `latent` says otherwise; heads * head_dim need not be width
  std::uint32_t vocab = 0;
  std::uint32_t context = 0;  // trained length in tokens
  float rms_eps = 0;
  float attention_scale = 0;  // of scores; 1 / sqrt(head_dim) unless the file or the architecture says otherwise
  float attention_cap = 0;    // scores become cap * tanh(score / cap); 0: they stay
  float logit_cap = 0;        // the same of logits
  float embedding_scale = 1;
  float residual_scale = 1;  // of what attention and feed-forward give
  float logit_scale = 1;     // logits are divided by it
  // Queries far into a text are multiplied by 1 + sharpening * log(1 + floor(position / sharpened_every)).
  float sharpening = 0;
  std::uint32_t sharpened_every = 0;
  Activation activation = Activation::kSilu;
  RopeSpec rope;                       // of the layers that see everything
  std::vector<ModelLayer> each_layer;  // [layers]
  ExpertSpec experts;
  LatentSpec latent;
  bool fused = false;              // blk.N.attn_qkv.weight, and gate and up in blk.N.ffn_up.weight
  bool tied_output = false;        // no output.weight: token_embd.weight serves
  bool qkv_bias = false;           // blk.N.attn_{q,k,v}.bias
  bool output_bias = false;        // blk.N.attn_output.bias
  bool sinks = false;              // blk.N.attn_sinks.weight, [heads] (AttendLayer::sinks)
  QkNorm qk_norm = QkNorm::kNone;  // blk.N.attn_{q,k}_norm.weight
  bool post_norms = false;         // blk.N.post_{attention,ffw}_norm.weight, [width]
  bool late_ffn_norm = false;      // what is blk.N.ffn_norm.weight elsewhere is called post_attention_norm.weight

  // Makes sure that the model can be run: metadata in range, each tensor of check_model_tensors() there.
  // Errors: kNotFound (metadata or tensor missing), kCorrupt (out of range, contradictory, wrong shape),
  // kUnsupported (another architecture, metadata of the architecture that this build does not know, a tensor type or
  // tensor that it does not compute).
  static Result<ModelConfig> from_gguf(const GgufFile& file);
};

// What each of the model's layers is to a KV cache.
std::vector<LayerSpec> model_layers(const ModelConfig& config);

}  // namespace cairn
