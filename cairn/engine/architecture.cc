// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/architecture.h"

#include <algorithm>
#include <string>

namespace cairn {
namespace {

constexpr Architecture kArchitectures[] = {
    {.name = "llama",  // Llama 2 and 3, Mistral, Mixtral, TinyLlama, SmolLM
     .pairing = RopePairing::kNeighbours,
     .mixture = Mixture::kIfTheFileSaysSo,
     .norms_expert_weights = true},
    {.name = "qwen2", .qkv_bias = true},
    {.name = "qwen3", .qk_norm = QkNorm::kHead},
    {.name = "gemma", .activation = Activation::kGelu, .scales_embeddings = true},
    {.name = "gemma2",
     .post_norms = true,
     .activation = Activation::kGelu,
     .scales_embeddings = true,
     .window = 4096,
     .global_every = 2,
     .wide_scale_layers = 46,
     .attention_cap = 50.0f,
     .logit_cap = 30.0f,
     .keys = {"attn_logit_softcapping", "final_logit_softcapping"}},
    {.name = "gemma3",
     .qk_norm = QkNorm::kHead,
     .post_norms = true,
     .activation = Activation::kGelu,
     .scales_embeddings = true,
     .global_every = 6,
     .window_rope_base = 10000.0,
     .wide_scale_layers = 62,
     .keys = {"final_logit_softcapping", "mm.tokens_per_image"}},
    {.name = "phi3", .fused = true},
    {.name = "granite",
     .pairing = RopePairing::kNeighbours,
     .keys = {"embedding_scale", "residual_scale", "logit_scale"}},
    {.name = "smollm3", .pairing = RopePairing::kNeighbours, .still_every = 4},
    {.name = "mistral3",
     .pairing = RopePairing::kNeighbours,
     .keys = {"attention.temperature_scale", "attention.temperature_length"}},
    {.name = "qwen3moe",
     .qk_norm = QkNorm::kHead,
     .mixture = Mixture::kAlways,
     .norms_expert_weights = true,
     .shares_ffn = true},
    {.name = "qwen2moe", .qkv_bias = true, .mixture = Mixture::kAlways, .shares_ffn = true, .shared_expert = true},
    {.name = "deepseek2",
     .pairing = RopePairing::kNeighbours,
     .latent = true,
     .mixture = Mixture::kIfTheFileSaysSo,
     .keys = {"attention.kv_lora_rank", "attention.q_lora_rank", "attention.key_length_mla",
              "attention.value_length_mla", "leading_dense_block_count", "expert_shared_count", "expert_group_count",
              "expert_group_used_count"}},
    {.name = "olmoe", .qk_norm = QkNorm::kWhole, .mixture = Mixture::kAlways},
    {.name = "gpt-oss",
     .qkv_bias = true,
     .output_bias = true,
     .sinks = true,
     .late_ffn_norm = true,
     .activation = Activation::kClampedSilu,
     .window = 128,
     .global_every = 2,
     .mixture = Mixture::kAlways,
     .softmax_of_chosen = true,
     .expert_biases = true},
};

// Read by every architecture, or without effect on what is computed from token ids.
constexpr std::string_view kCommonKeys[] = {
    "attention.causal",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_rms_epsilon",
    "attention.scale",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "attention.value_length",
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "pooling_type",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.freq_base_swa",
    "rope.scale_linear",
    "rope.scaling.attn_factor",
    "rope.scaling.factor",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "rope.scaling.type",
    "rope.scaling.yarn_attn_factor",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "rope.scaling.yarn_ext_factor",
    "rope.scaling.yarn_log_multiplier",
    "tensor_data_layout",
    "vocab_size",
};

// Read where there are experts.
constexpr std::string_view kExpertKeys[] = {
    "expert_count",         "expert_feed_forward_length",        "expert_gating_func", "expert_used_count",
    "expert_weights_scale", "expert_shared_feed_forward_length", "expert_weights_norm"};

bool understands(const Architecture& arch, std::string_view key) {
  const auto among = [key](const auto& keys) { return std::ranges::find(keys, key) != std::end(keys); };
  return among(kCommonKeys) || among(arch.keys) || (arch.mixture != Mixture::kNever && among(kExpertKeys));
}

// Every byte of a number that is 0, of false, and of an empty text or array.
bool switches_off(const GgufValue& value) {
  if (value.type == GgufType::kArray || value.type == GgufType::kString) {
    return value.count == 0 || value.bytes.empty();
  }
  return std::ranges::all_of(value.bytes, [](std::byte byte) { return byte == std::byte{0}; });
}

}  // namespace

Result<const Architecture*> read_architecture(const GgufFile& file) {
  CAIRN_TRY(const std::string_view name, file.get<std::string_view>("general.architecture"));
  std::string supported;
  for (const Architecture& arch : kArchitectures) {
    if (arch.name == name) return &arch;
    supported += (supported.empty() ? "" : ", ") + std::string(arch.name);
  }
  return fail(ErrorCode::kUnsupported,
              "architecture " + in_quotes(name) + " is not supported; this build runs " + supported);
}

Status check_metadata_keys(const GgufFile& file, const Architecture& arch) {
  const std::string prefix = std::string(arch.name) + ".";
  CAIRN_TRY(const bool causal, file.get_or<bool>(prefix + "attention.causal", true));
  if (!causal) {
    return fail(ErrorCode::kUnsupported,
                "metadata " + in_quotes(prefix + "attention.causal") +
                    " is false: models whose tokens see what comes after them are not supported");
  }
  CAIRN_TRY(const bool rotates, file.get_or<bool>(prefix + "rope.scaling.finetuned", true));
  if (!rotates && arch.name == "granite") {
    return fail(ErrorCode::kUnsupported, "metadata " + in_quotes(prefix + "rope.scaling.finetuned") +
                                             " is false: Granite models that do not rotate are not supported");
  }
  for (const GgufValue& value : file.metadata()) {
    if (!value.key.starts_with(prefix) || switches_off(value)) continue;
    if (understands(arch, value.key.substr(prefix.size()))) continue;
    return fail(ErrorCode::kUnsupported, "metadata " + in_quotes(value.key) + " (" + value.preview() +
                                             ") is unknown to this build, and ignoring it might give wrong answers");
  }
  return {};
}

}  // namespace cairn
