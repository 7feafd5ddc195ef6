// SPDX-License-Identifier: Apache-2.0
// The shape of a transformer as its file describes it, checked against the tensors that the file holds.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "cairn/base/result.h"
#include "cairn/block/rope.h"
#include "cairn/gguf/gguf.h"

namespace cairn {

enum class Arch : std::uint8_t {
  kLlama,  // Llama 2 and 3, Mistral, TinyLlama, SmolLM
  kQwen2,  // biases on q, k and v
  kQwen3,  // RMS norms on every head of q and k
};

std::string_view arch_name(Arch arch);  // as in general.architecture

// A value; immutable once made. Every number is in the range that from_gguf names.
struct ModelConfig {
  Arch arch = Arch::kLlama;
  std::string name;  // general.name, may be empty
  std::uint32_t layers = 0;
  std::uint32_t width = 0;  // of the residual stream
  std::uint32_t ffn = 0;    // of the feed-forward's inside
  std::uint32_t heads = 0;
  std::uint32_t kv_heads = 0;  // divides heads
  std::uint32_t head_dim = 0;  // of keys and of values; heads * head_dim need not be width
  std::uint32_t vocab = 0;
  std::uint32_t context = 0;  // trained length in tokens
  float rms_eps = 0;
  float attention_scale = 0;  // 1 / sqrt(head_dim)
  RopeSpec rope;
  bool tied_output = false;  // no output.weight: token_embd.weight serves
  bool qkv_bias = false;     // blk.N.attn_{q,k,v}.bias
  bool qk_norm = false;      // blk.N.attn_{q,k}_norm.weight, [head_dim]

  // Makes sure that the model can be run: metadata in range, each tensor of check_model_tensors there.
  // Errors: kNotFound (metadata or tensor missing), kCorrupt (out of range, contradictory, wrong shape),
  // kUnsupported (another architecture, mixture of experts, a part of a split model, a tensor type or tensor that this
  // build does not compute).
  static Result<ModelConfig> from_gguf(const GgufFile& file);
};

}  // namespace cairn
