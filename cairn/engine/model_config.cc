// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/model_config.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "cairn/engine/architecture.h"
#include "cairn/engine/expert_metadata.h"
#include "cairn/engine/latent_metadata.h"
#include "cairn/engine/layer_metadata.h"
#include "cairn/engine/metadata_reader.h"
#include "cairn/engine/model_tensors.h"
#include "cairn/engine/rope_metadata.h"

namespace cairn {
namespace {

// Far above any model of these families. They keep products of two of them within 64 bits, and hostile numbers from
// asking for memory before the tensors are compared with them.
constexpr std::uint32_t kMaxLayers = 1024;
constexpr std::uint32_t kMaxWidth = 1 << 18;
constexpr std::uint32_t kMaxFfn = 1 << 20;
constexpr std::uint32_t kMaxHeads = 4096;
constexpr std::uint32_t kMaxHeadDim = 512;
constexpr std::uint32_t kMaxVocab = 1 << 22;
constexpr std::uint32_t kMaxContext = 1 << 27;

Status refuse_other_kinds(const GgufFile& file, const Architecture& arch) {
  CAIRN_TRY(const auto experts, file.get_or<std::uint32_t>(std::string(arch.name) + ".expert_count", 0u));
  if (experts > 0 && arch.mixture == Mixture::kNever) {
    return fail(ErrorCode::kUnsupported, "this is a mixture of " + std::to_string(experts) + " experts, which " +
                                             std::string(arch.name) + " models of this build have not");
  }
  return {};
}

Status read_heads(const GgufFile& file, const MetadataReader& reader, const Architecture& arch, ModelConfig& config) {
  if (arch.latent) return read_latent_heads(file, reader, config);
  CAIRN_TRY(config.heads, reader.count("attention.head_count", kMaxHeads));
  CAIRN_TRY(config.kv_heads, reader.count_or("attention.head_count_kv", kMaxHeads, config.heads));
  if (config.heads % config.kv_heads != 0) {
    return fail(ErrorCode::kCorrupt, std::to_string(config.heads) + " heads cannot share " +
                                         std::to_string(config.kv_heads) + " KV heads evenly");
  }
  const std::uint32_t even_split = config.width / config.heads;
  CAIRN_TRY(config.head_dim, reader.count_or("attention.key_length", kMaxHeadDim, even_split));
  CAIRN_TRY(const std::uint32_t value_dim, reader.count_or("attention.value_length", kMaxHeadDim, even_split));
  if (value_dim != config.head_dim) {
    return fail(ErrorCode::kUnsupported, "keys of " + std::to_string(config.head_dim) + " and values of " +
                                             std::to_string(value_dim) +
                                             " channels; heads with differing lengths are not supported");
  }
  if (config.head_dim == 0 || config.head_dim % 8 != 0 || config.head_dim > kMaxHeadDim) {
    return fail(ErrorCode::kUnsupported, "heads of " + std::to_string(config.head_dim) +
                                             " channels are not supported; a multiple of 8 up to " +
                                             std::to_string(kMaxHeadDim) + " is");
  }
  // One size of a family may have been trained with another scale, which its file does not say.
  const std::uint32_t scaled_by = arch.wide_scale_layers == config.layers ? even_split : config.head_dim;
  CAIRN_TRY(config.attention_scale, reader.amount_or("attention.scale", 0.0f));
  if (config.attention_scale == 0.0f) {
    config.attention_scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(scaled_by)));
  }
  return {};
}

Status read_scales(const MetadataReader& reader, const Architecture& arch, ModelConfig& config) {
  CAIRN_TRY(config.attention_cap, reader.amount_or("attn_logit_softcapping", arch.attention_cap));
  CAIRN_TRY(config.logit_cap, reader.amount_or("final_logit_softcapping", arch.logit_cap));
  const auto root_of_width = static_cast<float>(std::sqrt(static_cast<double>(config.width)));
  CAIRN_TRY(config.embedding_scale,
            reader.positive_or("embedding_scale", arch.scales_embeddings ? root_of_width : 1.0f));
  CAIRN_TRY(config.residual_scale, reader.positive_or("residual_scale", 1.0f));
  CAIRN_TRY(config.logit_scale, reader.positive_or("logit_scale", 1.0f));
  CAIRN_TRY(config.sharpening, reader.amount_or("attention.temperature_scale", 0.0f));
  if (config.sharpening == 0.0f) return {};
  CAIRN_TRY(config.sharpened_every,
            reader.count_or("attention.temperature_length", kMaxContext, config.rope.original_context));
  return {};
}

// The embedding table decides; the tokenizer, where the file has one, must not name ids beyond it.
Status read_vocab(const GgufFile& file, ModelConfig& config) {
  const GgufTensor* embedding = file.find_tensor("token_embd.weight");
  if (embedding == nullptr) return fail(ErrorCode::kNotFound, "the model lacks tensor 'token_embd.weight'");
  if (embedding->rows() == 0 || embedding->rows() > kMaxVocab) {
    return fail(ErrorCode::kCorrupt,
                "a vocabulary of " + std::to_string(embedding->rows()) + " tokens is out of range");
  }
  config.vocab = static_cast<std::uint32_t>(embedding->rows());
  const GgufValue* tokens = file.find("tokenizer.ggml.tokens");
  if (tokens != nullptr && tokens->count != config.vocab) {
    return fail(ErrorCode::kCorrupt, "the tokenizer has " + std::to_string(tokens->count) +
                                         " tokens, but the embedding table " + std::to_string(config.vocab) + " rows");
  }
  return {};
}

}  // namespace

Result<ModelConfig> ModelConfig::from_gguf(const GgufFile& file) {
  CAIRN_TRY(const Architecture* arch, read_architecture(file));
  CAIRN_TRY_VOID(refuse_other_kinds(file, *arch));
  CAIRN_TRY_VOID(check_metadata_keys(file, *arch));
  const MetadataReader reader(file, arch->name);
  ModelConfig config;
  config.arch = arch->name;
  CAIRN_TRY(config.name, file.get_or<std::string>("general.name", ""));
  CAIRN_TRY(config.layers, reader.count("block_count", kMaxLayers));
  CAIRN_TRY(config.width, reader.count("embedding_length", kMaxWidth));
  CAIRN_TRY(const auto ffn, reader.counts("feed_forward_length", kMaxFfn, config.layers));
  config.ffn = std::ranges::max(ffn);
  CAIRN_TRY(config.context, reader.count("context_length", kMaxContext));
  CAIRN_TRY(config.rms_eps, reader.epsilon("attention.layer_norm_rms_epsilon"));
  CAIRN_TRY_VOID(read_heads(file, reader, *arch, config));
  CAIRN_TRY_VOID(read_vocab(file, config));
  const std::uint32_t turning = config.head_dim - config.latent.rank;
  CAIRN_TRY(config.rope, read_rope_spec(file, arch->name, arch->pairing, turning, config.context));
  if (arch->latent) CAIRN_TRY_VOID(turn_after_latent(reader, config));
  CAIRN_TRY_VOID(read_scales(reader, *arch, config));
  CAIRN_TRY_VOID(read_experts(file, *arch, config));
  CAIRN_TRY(const std::uint32_t dense, read_dense_layers(reader, config));
  CAIRN_TRY(const auto layers, read_layers(file, *arch,
                                           {.count = config.layers,
                                            .shape = {config.kv_heads, config.head_dim, config.latent.rank},
                                            .rope = config.rope}));
  for (std::uint32_t l = 0; l < config.layers; ++l) {
    config.each_layer.push_back({.cache = layers[l], .ffn = ffn[l], .mixed = l >= dense});
  }

  config.activation = arch->activation;
  config.fused = arch->fused;
  config.tied_output = file.find_tensor("output.weight") == nullptr;
  config.qkv_bias = arch->qkv_bias || file.find_tensor(layer_tensor(0, "attn_q.bias")) != nullptr;
  config.output_bias = arch->output_bias;
  config.sinks = arch->sinks;
  config.late_ffn_norm = arch->late_ffn_norm;
  config.qk_norm = arch->qk_norm;
  config.post_norms = arch->post_norms;
  CAIRN_TRY_VOID(check_model_tensors(file, config));
  return config;
}

std::vector<LayerSpec> model_layers(const ModelConfig& config) {
  std::vector<LayerSpec> layers;
  for (const ModelLayer& layer : config.each_layer) layers.push_back(layer.cache);
  return layers;
}

}  // namespace cairn
