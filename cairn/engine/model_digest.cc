// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/model_digest.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <string>

namespace cairn {
namespace {

// What a model's results depend on besides its tensors, its architecture and what every Llama has.
std::string numbers_beyond_llama(const ModelConfig& config) {
  std::string text;
  const auto add = [&](const char* name, float value, float plain) {
    if (value != plain) text += std::string(name) + "=" + std::to_string(std::bit_cast<std::uint32_t>(value)) + ";";
  };
  add("embedding", config.embedding_scale, 1.0f);
  add("residual", config.residual_scale, 1.0f);
  add("logits", config.logit_scale, 1.0f);
  add("sharpening", config.sharpening, 0.0f);
  if (config.sharpening != 0.0f) text += "every=" + std::to_string(config.sharpened_every) + ";";
  add("attention_cap", config.attention_cap, 0.0f);
  add("logit_cap", config.logit_cap, 0.0f);
  if (const LatentSpec& latent = config.latent; latent.rank != 0) {
    text += "latent=" + std::to_string(latent.plain) + "," + std::to_string(latent.value) + ";";
  }
  const ExpertSpec& experts = config.experts;
  if (experts.count == 0) return text;
  text += "experts=" + std::to_string(experts.used) + (experts.normed ? "n;" : ";");
  add("expert", experts.scale, 1.0f);
  if (experts.gate == ExpertGate::kSigmoid) text += "sigmoid;";
  if (experts.groups > 1) {
    text += "groups=" + std::to_string(experts.used_groups) + "/" + std::to_string(experts.groups) + ";";
  }
  return text;
}

}  // namespace

Digest tensor_digest(const GgufTensor& tensor, ThreadPool& pool) {
  constexpr std::size_t kPiece = std::size_t{1} << 20;
  std::vector<Digest> pieces((tensor.data.size() + kPiece - 1) / kPiece);
  pool.run(pieces.size(), [&](std::size_t i, unsigned) {
    const std::size_t first = i * kPiece;
    pieces[i] = Hasher("cairn.weights.piece.v1")
                    .bytes(tensor.data.subspan(first, std::min(kPiece, tensor.data.size() - first)))
                    .finish();
  });
  Hasher hasher("cairn.weights.tensor.v1");
  hasher.text(tensor.name).u32(tensor.type);
  for (const std::uint64_t dim : tensor.dims) hasher.u64(dim);
  hasher.u64(tensor.data.size());
  for (const Digest& piece : pieces) hasher.digest(piece);
  return hasher.finish();
}

void ModelDigest::add(const GgufTensor& tensor, ThreadPool& pool) {
  tensors_.push_back({tensor.name, tensor_digest(tensor, pool)});
}

Digest ModelDigest::finish() {
  std::ranges::sort(tensors_, {}, &Named::name);
  Hasher hasher("cairn.weights.v1");
  hasher.text(config_.arch);
  hasher.u32(config_.heads).u32(config_.kv_heads).u32(config_.head_dim);
  hasher.u32(std::bit_cast<std::uint32_t>(config_.rms_eps)).u32(std::bit_cast<std::uint32_t>(config_.attention_scale));
  hasher.u64(tensors_.size());
  for (const Named& tensor : tensors_) hasher.digest(tensor.digest);
  // Models that have none of these keep the digest that they had before there were any.
  if (const std::string beyond = numbers_beyond_llama(config_); !beyond.empty()) hasher.text(beyond);
  return hasher.finish();
}

}  // namespace cairn
