// SPDX-License-Identifier: Apache-2.0
// Test support: complete small models with seeded random weights, as GgufBuilders that a test may still change.
#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "cairn/base/check.h"
#include "cairn/base/half.h"
#include "cairn/base/random.h"
#include "cairn/testing/gguf_builder.h"
#include "cairn/tokens.h"

namespace cairn {

struct TinyModel {
  // Tensor types by their number in the format.
  static constexpr std::uint32_t kF32 = 0;
  static constexpr std::uint32_t kF16 = 1;
  static constexpr std::uint32_t kQ8_0 = 8;  // needs cols in multiples of 32
  static constexpr std::uint32_t kBF16 = 30;
  static constexpr std::uint32_t kMXFP4 = 39;  // as Q8_0

  std::string arch = "llama";  // any that the engine runs
  std::uint32_t layers = 2;
  std::uint32_t width = 32;
  std::uint32_t ffn = 64;
  std::vector<std::uint32_t> layer_ffn{};  // one for each layer, where they differ
  std::uint32_t heads = 4;
  std::uint32_t kv_heads = 2;
  std::uint32_t head_dim = 8;
  std::uint32_t vocab = 40;
  std::uint32_t marks = 0;  // of its pieces, the last: points alone
  std::uint32_t context = 256;
  bool tied_output = false;
  std::uint32_t experts = 0;      // of the architectures that may have some; three of them serve a token
  std::uint32_t expert_ffn = 32;  // also of the expert that serves all tokens, in qwen2moe
  std::uint32_t type = kF32;      // of the matrices, save that experts of gpt-oss are MXFP4 where others are Q8_0
  std::uint32_t seed = 1;
  // Of deepseek2, whose heads have lengths of their own: `head_dim` is not read. Its first layer has no experts.
  bool like_v3 = false;  // a query rank, split k_b and v_b, gates that are sigmoids, a bias and groups; else as V2-Lite
  static constexpr std::uint32_t kRank = 32, kTurning = 8, kPlain = 32, kValue = 16;

  // Metadata, tokenizer of `vocab` made-up pieces, and all tensors; norms near 1, matrices so scaled that activations
  // stay of order 1.
  GgufBuilder builder() const {
    GgufBuilder out;
    out.set("general.architecture", arch).set("general.name", "tiny").set(arch + ".block_count", layers);
    out.set(arch + ".embedding_length", width);
    if (layer_ffn.empty()) {
      out.set(arch + ".feed_forward_length", ffn);
    } else {
      out.array(arch + ".feed_forward_length", layer_ffn);
    }
    out.set(arch + ".attention.head_count", heads);
    if (arch == "deepseek2") {
      add_latent_numbers(out);
    } else {
      out.set(arch + ".attention.head_count_kv", kv_heads);
      out.set(arch + ".attention.key_length", head_dim).set(arch + ".attention.value_length", head_dim);
    }
    out.set(arch + ".attention.layer_norm_rms_epsilon", 1e-5f).set(arch + ".rope.freq_base", 10000.0f);
    out.set(arch + ".context_length", context);
    add_numbers_of_arch(out);
    add_tokenizer(out);

    std::mt19937 random(seed);
    const std::uint32_t q_width = heads * head_dim;
    const std::uint32_t kv_width = kv_heads * head_dim;
    matrix(out, random, "token_embd.weight", width, vocab);
    vector(out, random, "output_norm.weight", width, 1.0f);
    if (!tied_output) matrix(out, random, "output.weight", width, vocab);
    if (arch == "phi3") {
      vector(out, random, "rope_factors_long.weight", head_dim / 4, 4.0f);  // half of the channels turn
      vector(out, random, "rope_factors_short.weight", head_dim / 4, 1.0f);
    }
    for (std::uint32_t layer = 0; layer < layers; ++layer) {
      const std::string blk = "blk." + std::to_string(layer) + ".";
      vector(out, random, blk + "attn_norm.weight", width, 1.0f);
      if (arch == "phi3") {
        matrix(out, random, blk + "attn_qkv.weight", width, q_width + 2 * kv_width);
      } else if (arch == "deepseek2") {
        add_latent_attention(out, random, blk);
      } else {
        matrix(out, random, blk + "attn_q.weight", width, q_width);
        matrix(out, random, blk + "attn_k.weight", width, kv_width);
        matrix(out, random, blk + "attn_v.weight", width, kv_width);
      }
      matrix(out, random, blk + "attn_output.weight", arch == "deepseek2" ? heads * kValue : q_width, width);
      const bool gpt_oss = arch == "gpt-oss";
      vector(out, random, blk + (gpt_oss ? "post_attention_norm.weight" : "ffn_norm.weight"), width, 1.0f);
      add_feed_forward(out, random, layer);
      if (gpt_oss) {
        vector(out, random, blk + "attn_sinks.weight", heads, 1.0f, 2.0f);
        vector(out, random, blk + "attn_output.bias", width, 0.0f);
      }
      if (arch == "qwen2" || arch == "qwen2moe" || gpt_oss) {
        vector(out, random, blk + "attn_q.bias", q_width, 0.0f);
        vector(out, random, blk + "attn_k.bias", kv_width, 0.0f);
        vector(out, random, blk + "attn_v.bias", kv_width, 0.0f);
      }
      if (arch == "olmoe") {
        vector(out, random, blk + "attn_q_norm.weight", q_width, 1.0f);
        vector(out, random, blk + "attn_k_norm.weight", kv_width, 1.0f);
      }
      if (arch == "qwen3" || arch == "qwen3moe" || arch == "gemma3") {
        vector(out, random, blk + "attn_q_norm.weight", head_dim, 1.0f);
        vector(out, random, blk + "attn_k_norm.weight", head_dim, 1.0f);
      }
      if (arch == "gemma2" || arch == "gemma3") {
        vector(out, random, blk + "post_attention_norm.weight", width, 1.0f);
        vector(out, random, blk + "post_ffw_norm.weight", width, 1.0f);
      }
    }
    return out;
  }

 private:
  // Small enough that short prompts show them.
  void add_numbers_of_arch(GgufBuilder& out) const {
    if (arch == "gemma2" || arch == "gemma3" || arch == "gpt-oss") {
      out.set(arch + ".attention.sliding_window", std::uint32_t{20});
    }
    if (arch == "gpt-oss") {
      out.set("gpt-oss.rope.scaling.type", "yarn").set("gpt-oss.rope.scaling.factor", 8.0f);
      out.set("gpt-oss.rope.scaling.original_context_length", std::uint32_t{32});
    }
    if (arch == "gemma2") out.set("gemma2.attn_logit_softcapping", 2.0f).set("gemma2.final_logit_softcapping", 3.0f);
    if (arch == "phi3") {
      out.set("phi3.rope.dimension_count", head_dim / 2).set("phi3.rope.scaling.original_context_length", context / 2);
      out.set("phi3.rope.scaling.attn_factor", 1.19f);
    }
    if (arch == "granite") {
      out.set("granite.embedding_scale", 3.0f).set("granite.residual_scale", 0.25f).set("granite.logit_scale", 4.0f);
      out.set("granite.attention.scale", 0.2f);
    }
    if (arch == "mistral3") {
      out.set("mistral3.rope.scaling.type", "yarn").set("mistral3.rope.scaling.factor", 8.0f);
      out.set("mistral3.rope.scaling.original_context_length", std::uint32_t{32});
      out.set("mistral3.rope.scaling.yarn_log_multiplier", 1.0f).set("mistral3.attention.temperature_scale", 0.5f);
    }
    if (experts != 0) {
      out.set(arch + ".expert_count", experts).set(arch + ".expert_used_count", std::uint32_t{3});
      out.set(arch + ".expert_feed_forward_length", expert_ffn);
      if (arch == "qwen2moe") out.set("qwen2moe.expert_shared_feed_forward_length", expert_ffn);
    }
    if (arch == "gemma3") {
      out.set("gemma3.attention.sliding_window_pattern", std::uint32_t{2});
      out.set("gemma3.rope.scaling.type", "linear").set("gemma3.rope.scaling.factor", 4.0f);
    }
  }

  void add_latent_numbers(GgufBuilder& out) const {
    out.set("deepseek2.attention.kv_lora_rank", kRank).set("deepseek2.rope.dimension_count", kTurning);
    if (like_v3) {
      out.set("deepseek2.attention.head_count_kv", std::uint32_t{1}).set("deepseek2.attention.q_lora_rank", 2 * kRank);
      out.set("deepseek2.attention.key_length", kRank + kTurning).set("deepseek2.attention.value_length", kRank);
      out.set("deepseek2.attention.key_length_mla", kPlain + kTurning);
      out.set("deepseek2.attention.value_length_mla", kValue);
    } else {
      out.set("deepseek2.attention.head_count_kv", heads);
      out.set("deepseek2.attention.key_length", kPlain + kTurning).set("deepseek2.attention.value_length", kValue);
    }
    out.set("deepseek2.rope.scaling.type", "yarn").set("deepseek2.rope.scaling.factor", 4.0f);
    out.set("deepseek2.rope.scaling.original_context_length", std::uint32_t{64});
    out.set("deepseek2.rope.scaling.yarn_log_multiplier", 0.0707f);
    if (experts == 0) return;
    out.set("deepseek2.leading_dense_block_count", std::uint32_t{1});
    out.set("deepseek2.expert_shared_count", std::uint32_t{2});
    if (!like_v3) return;
    out.set("deepseek2.expert_gating_func", std::uint32_t{2}).set("deepseek2.expert_weights_norm", true);
    out.set("deepseek2.expert_weights_scale", 2.5f).set("deepseek2.expert_group_count", std::uint32_t{4});
    out.set("deepseek2.expert_group_used_count", std::uint32_t{2});
  }

  void add_latent_attention(GgufBuilder& out, std::mt19937& random, const std::string& blk) const {
    const std::uint32_t q_width = heads * (kPlain + kTurning);
    if (like_v3) {
      matrix(out, random, blk + "attn_q_a.weight", width, 2 * kRank);
      vector(out, random, blk + "attn_q_a_norm.weight", 2 * kRank, 1.0f);
      matrix(out, random, blk + "attn_q_b.weight", 2 * kRank, q_width);
      matrix(out, random, blk + "attn_k_b.weight", kPlain, kRank * heads);
      out.tensors().back().dims = {kPlain, kRank, heads};
      matrix(out, random, blk + "attn_v_b.weight", kRank, kValue * heads);
      out.tensors().back().dims = {kRank, kValue, heads};
    } else {
      matrix(out, random, blk + "attn_q.weight", width, q_width);
      matrix(out, random, blk + "attn_kv_b.weight", kRank, heads * (kPlain + kValue));
    }
    matrix(out, random, blk + "attn_kv_a_mqa.weight", width, kRank + kTurning);
    vector(out, random, blk + "attn_kv_a_norm.weight", kRank, 1.0f);
  }

  void add_feed_forward(GgufBuilder& out, std::mt19937& random, std::uint32_t layer) const {
    const std::string blk = "blk." + std::to_string(layer) + ".";
    const std::uint32_t inside = layer_ffn.empty() ? ffn : layer_ffn[layer];
    const bool latent = arch == "deepseek2";
    if (experts != 0 && !(latent && layer == 0)) {
      matrix(out, random, blk + "ffn_gate_inp.weight", width, experts);
      for (const char* what : {"ffn_gate_exps.weight", "ffn_up_exps.weight", "ffn_down_exps.weight"}) {
        const bool down = std::string(what) == "ffn_down_exps.weight";
        const std::uint32_t rows = down ? width : expert_ffn;
        const std::uint32_t expert_type = arch == "gpt-oss" && type == kQ8_0 ? kMXFP4 : type;
        matrix_of(expert_type, out, random, blk + what, down ? expert_ffn : width, rows * experts);
        out.tensors().back().dims = {down ? expert_ffn : width, rows, experts};
      }
      if (arch == "gpt-oss") {  // so wide that the clamps of gate and up are reached on both sides
        vector(out, random, blk + "ffn_gate_inp.bias", experts, 0.0f, 1.0f);
        vector(out, random, blk + "ffn_gate_exps.bias", expert_ffn * experts, 0.0f, 9.0f);
        out.tensors().back().dims = {expert_ffn, experts};
        vector(out, random, blk + "ffn_up_exps.bias", expert_ffn * experts, 0.0f, 9.0f);
        out.tensors().back().dims = {expert_ffn, experts};
        vector(out, random, blk + "ffn_down_exps.bias", width * experts, 0.0f);
        out.tensors().back().dims = {width, experts};
      }
      if (latent && like_v3) vector(out, random, blk + "exp_probs_b.bias", experts, 0.0f);
      if (arch != "qwen2moe" && !latent) return;
      const std::uint32_t shared = latent ? 2 * expert_ffn : expert_ffn;
      if (!latent) vector(out, random, blk + "ffn_gate_inp_shexp.weight", width, 0.0f);
      matrix(out, random, blk + "ffn_gate_shexp.weight", width, shared);
      matrix(out, random, blk + "ffn_up_shexp.weight", width, shared);
      matrix(out, random, blk + "ffn_down_shexp.weight", shared, width);
      return;
    }
    if (arch != "phi3") matrix(out, random, blk + "ffn_gate.weight", width, inside);
    matrix(out, random, blk + "ffn_up.weight", width, arch == "phi3" ? 2 * inside : inside);
    matrix(out, random, blk + "ffn_down.weight", inside, width);
  }

  void add_tokenizer(GgufBuilder& out) const {
    std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
    std::vector<float> scores(vocab);
    std::vector<std::int32_t> types = {2, 3, 3};
    while (tokens.size() < vocab) {
      scores[tokens.size()] = -static_cast<float>(tokens.size());
      const bool is_mark = tokens.size() + marks >= vocab;
      tokens.push_back(is_mark ? std::string(vocab - tokens.size(), '.') : "t" + std::to_string(tokens.size()));
      types.push_back(1);
    }
    out.set("tokenizer.ggml.model", "llama").array("tokenizer.ggml.tokens", tokens);
    out.array("tokenizer.ggml.scores", scores).array("tokenizer.ggml.token_type", types);
    out.set("tokenizer.ggml.unknown_token_id", std::uint32_t{0});
    out.set("tokenizer.ggml.bos_token_id", std::uint32_t{1}).set("tokenizer.ggml.eos_token_id", std::uint32_t{2});
  }

  // Uniform in (-1, 1): the bits of mt19937 are the same everywhere, those of the standard's distributions are not.
  static float uniform(std::mt19937& random) { return static_cast<float>(random() >> 8) * 0x1p-23f - 1.0f; }

  static void vector(GgufBuilder& out, std::mt19937& random, std::string name, std::uint32_t size, float centre,
                     float spread = 0.1f) {
    std::vector<float> values(size);
    for (float& value : values) value = centre + spread * uniform(random);
    out.tensor_f32(std::move(name), {size}, values);
  }

  void matrix(GgufBuilder& out, std::mt19937& random, std::string name, std::uint32_t cols, std::uint32_t rows) const {
    matrix_of(type, out, random, std::move(name), cols, rows);
  }

  static void matrix_of(std::uint32_t type, GgufBuilder& out, std::mt19937& random, std::string name,
                        std::uint32_t cols, std::uint32_t rows) {
    const float scale = std::sqrt(3.0f / static_cast<float>(cols));
    ByteWriter data;
    for (std::uint64_t i = 0; i < std::uint64_t{cols} * rows; ++i) {
      if (type == kQ8_0) {
        if (i % 32 == 0) data.number(f32_to_f16(scale / 127.0f));
        data.number(static_cast<std::int8_t>(127.0f * uniform(random)));
        continue;
      }
      if (type == kMXFP4) {  // blocks of a power of two, 127 being 1, and 32 four-bit floats up to 6
        if (i % 32 == 0) data.number(static_cast<std::uint8_t>(126 + std::ilogb(scale / 6.0f)));
        if (i % 2 == 0) data.number(static_cast<std::uint8_t>(random() >> 24));
        continue;
      }
      const float value = scale * uniform(random);
      switch (type) {
        case kF32: data.number(value); break;
        case kF16: data.number(f32_to_f16(value)); break;
        case kBF16: data.number(f32_to_bf16(value)); break;
        default: CAIRN_CHECK(false);
      }
    }
    out.tensor({.name = std::move(name), .dims = {cols, rows}, .type = type, .data = data.take()});
  }
};

// A model for prompts of many blocks.
inline std::vector<std::byte> long_context_model() {
  TinyModel tiny;
  tiny.width = 64;
  tiny.ffn = 192;
  tiny.layers = 3;
  tiny.context = 2048;
  return tiny.builder().build();
}

// Ids that every TinyModel of this size knows and that are no control tokens.
inline std::vector<TokenId> random_prompt(std::uint64_t seed, std::size_t tokens) {
  SeededRandom random(seed);
  std::vector<TokenId> prompt(tokens);
  for (TokenId& token : prompt) token = static_cast<TokenId>(3 + random.below(36));
  return prompt;
}

}  // namespace cairn
