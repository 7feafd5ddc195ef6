// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/latent_metadata.h"

#include <cmath>
#include <string>

#include "cairn/engine/model_tensors.h"

namespace cairn {
namespace {

constexpr std::uint32_t kMaxLatentHeads = 4096;
constexpr std::uint32_t kMaxRank = 512;  // what attention takes as values that lie in keys
constexpr std::uint32_t kMaxTurning = 512;
constexpr std::uint32_t kMaxExpandedDim = 4096;
constexpr std::uint32_t kMaxQueryRank = 1 << 18;

// A number that the file may leave out, since others decide it.
Status expect_length(const MetadataReader& reader, const ModelConfig& config, std::string_view key,
                     std::uint32_t wanted) {
  CAIRN_TRY(const std::uint32_t value, reader.count_or(key, ~0u, wanted));
  if (value == wanted) return {};
  return fail(ErrorCode::kCorrupt, "metadata '" + config.arch + "." + std::string(key) + "' is " +
                                       std::to_string(value) + ", but the other lengths of heads ask for " +
                                       std::to_string(wanted));
}

std::unexpected<Error> two_readings(const ModelConfig& config, const std::string& what) {
  return fail(ErrorCode::kUnsupported, "RoPE scaling of a " + config.arch + " model with " + what +
                                           " is not supported: it could mean two things");
}

}  // namespace

Status read_latent_heads(const GgufFile& file, const MetadataReader& reader, ModelConfig& config) {
  LatentSpec& latent = config.latent;
  CAIRN_TRY(config.heads, reader.count("attention.head_count", kMaxLatentHeads));
  CAIRN_TRY(latent.rank, reader.count("attention.kv_lora_rank", kMaxRank));
  CAIRN_TRY(latent.q_rank, reader.optional_count("attention.q_lora_rank", kMaxQueryRank));
  CAIRN_TRY(const std::uint32_t turning, reader.count("rope.dimension_count", kMaxTurning));
  if (latent.rank % 8 != 0 || turning % 8 != 0) {
    return fail(ErrorCode::kUnsupported, "latents of " + std::to_string(latent.rank) + " channels beside " +
                                             std::to_string(turning) +
                                             " that turn are not supported; multiples of 8 are");
  }
  config.kv_heads = 1;
  config.head_dim = latent.rank + turning;
  const bool newer = reader.has("attention.key_length_mla");
  CAIRN_TRY(const std::uint32_t key,
            reader.count(newer ? "attention.key_length_mla" : "attention.key_length", kMaxExpandedDim));
  CAIRN_TRY(latent.value,
            reader.count(newer ? "attention.value_length_mla" : "attention.value_length", kMaxExpandedDim));
  if (key <= turning) {
    return fail(ErrorCode::kCorrupt, "keys of " + std::to_string(key) + " channels have none beside the " +
                                         std::to_string(turning) + " that turn");
  }
  latent.plain = key - turning;
  CAIRN_TRY_VOID(expect_length(reader, config, "attention.head_count_kv", newer ? 1 : config.heads));
  if (newer) {
    CAIRN_TRY_VOID(expect_length(reader, config, "attention.key_length", config.head_dim));
    CAIRN_TRY_VOID(expect_length(reader, config, "attention.value_length", latent.rank));
  }
  latent.split = newer || file.find_tensor(layer_tensor(0, "attn_k_b.weight")) != nullptr;
  config.attention_scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(key)));
  CAIRN_TRY(const float own_scale, reader.amount_or("attention.scale", 0.0f));
  if (own_scale != 0.0f && own_scale != config.attention_scale) {
    return fail(ErrorCode::kUnsupported,
                "metadata '" + config.arch + ".attention.scale' is not supported: heads and YaRN decide the scale");
  }
  return {};
}

Status turn_after_latent(const MetadataReader& reader, ModelConfig& config) {
  RopeSpec& rope = config.rope;
  rope.first = config.latent.rank;
  if (rope.scaling == RopeScaling::kLinear) return two_readings(config, "type linear");
  CAIRN_TRY(const float factor, reader.positive_or("rope.scaling.attn_factor", 1.0f));
  CAIRN_TRY(const float yarn_factor, reader.positive_or("rope.scaling.yarn_attn_factor", 1.0f));
  if (factor != 1.0f || yarn_factor != 1.0f) return two_readings(config, "an attn_factor");
  if (rope.scaling != RopeScaling::kYarn) return {};
  if (rope.ext_factor != 1.0) return two_readings(config, "a yarn_ext_factor");
  CAIRN_TRY(const float multiplier, reader.amount_or("rope.scaling.yarn_log_multiplier", 0.0f));
  if (multiplier == 0.0f || rope.factor < 1.0) return two_readings(config, "no yarn_log_multiplier");
  // The multiplier that these files have is a tenth of the model's `mscale_all_dim`, which is its `mscale` too: cos and
  // sin stay as they are, and queries and keys would each have grown by this.
  const double grown = 1.0 + static_cast<double>(multiplier) * std::log(rope.factor);
  config.attention_scale = static_cast<float>(static_cast<double>(config.attention_scale) * grown * grown);
  rope.attn_factor = 1.0 / (1.0 + 0.1 * std::log(rope.factor));
  return {};
}

}  // namespace cairn
