// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/expert_metadata.h"

#include <algorithm>
#include <string>

#include "cairn/engine/model_tensors.h"

namespace cairn {
namespace {

constexpr std::uint32_t kMaxExpertFfn = 1 << 20;
constexpr std::uint32_t kMaxExperts = 1 << 12;
constexpr std::uint64_t kMaxChosenWidth = 1 << 22;  // of all experts of a token: what a pass keeps of each row

bool has_choice_bias(const GgufFile& file, const ModelConfig& config) {
  for (std::uint32_t l = 0; l < config.layers; ++l) {
    if (file.find_tensor(layer_tensor(l, "exp_probs_b.bias")) != nullptr) return true;
  }
  return false;
}

// What is inside of the expert that all tokens go through.
Status read_shared(const MetadataReader& reader, const Architecture& arch, ModelConfig& config) {
  ExpertSpec& experts = config.experts;
  experts.shared_gate = arch.shared_expert;
  if (arch.shared_expert) {
    CAIRN_TRY(experts.shared_ffn, reader.count_or("expert_shared_feed_forward_length", kMaxExpertFfn, config.ffn));
    return {};
  }
  // As many experts side by side are one of their common width.
  CAIRN_TRY(const std::uint32_t count,
            reader.optional_count("expert_shared_count", kMaxExpertFfn / std::max(experts.ffn, 1u)));
  experts.shared_ffn = count * experts.ffn;
  return {};
}

// The numbers of `expert_gating_func`: 1 is a softmax over all experts, 2 a sigmoid of each, 3 a softmax over those
// that were chosen, which is the first one normed.
Status read_gate(const MetadataReader& reader, const Architecture& arch, ModelConfig& config) {
  CAIRN_TRY(const std::uint32_t gating, reader.optional_count("expert_gating_func", ~0u));
  const std::string key = "metadata '" + config.arch + ".expert_gating_func' is ";
  if (gating == 0 && config.experts.choice_bias) {
    return fail(ErrorCode::kNotFound, key + "missing: 1 (softmax) or 2 (sigmoid), to which 'exp_probs_b' is added; " +
                                          "convert the model again");
  }
  const bool sigmoid = arch.latent && gating == static_cast<std::uint32_t>(ExpertGate::kSigmoid);
  const std::uint32_t known = arch.softmax_of_chosen ? 3 : 1;
  if (gating != 0 && gating != known && !sigmoid) {
    return fail(ErrorCode::kUnsupported, key + std::to_string(gating) + "; this build knows " +
                                             (arch.softmax_of_chosen ? "3, a softmax over the chosen experts"
                                                                     : "1, a softmax over all experts") +
                                             (arch.latent ? ", and 2, a sigmoid of each" : ""));
  }
  config.experts.gate = sigmoid ? ExpertGate::kSigmoid : ExpertGate::kSoftmax;
  return {};
}

Status read_groups(const MetadataReader& reader, ModelConfig& config) {
  ExpertSpec& experts = config.experts;
  CAIRN_TRY(experts.groups, reader.count_or("expert_group_count", experts.count, 1));
  if (experts.groups == 1) return {};
  CAIRN_TRY(experts.used_groups, reader.count("expert_group_used_count", experts.groups));
  if (experts.count % experts.groups != 0 || experts.count == experts.groups) {
    return fail(ErrorCode::kCorrupt, std::to_string(experts.count) + " experts do not make " +
                                         std::to_string(experts.groups) + " groups of one size, at least 2");
  }
  const std::uint32_t choice = experts.count / experts.groups * experts.used_groups;
  if (choice < experts.used) {
    return fail(ErrorCode::kCorrupt, std::to_string(experts.used) + " experts cannot be chosen among the " +
                                         std::to_string(choice) + " of " + std::to_string(experts.used_groups) +
                                         " groups");
  }
  return {};
}

}  // namespace

Status read_experts(const GgufFile& file, const Architecture& arch, ModelConfig& config) {
  if (arch.mixture == Mixture::kNever) return {};
  const MetadataReader reader(file, arch.name);
  ExpertSpec& experts = config.experts;
  CAIRN_TRY(experts.count, reader.optional_count("expert_count", kMaxExperts));
  if (experts.count == 0) {
    if (arch.mixture == Mixture::kIfTheFileSaysSo) return {};
    return fail(ErrorCode::kNotFound, "metadata '" + config.arch + ".expert_count' is missing");
  }
  CAIRN_TRY(experts.used, reader.count("expert_used_count", experts.count));
  if (std::uint64_t{experts.used} * config.width > kMaxChosenWidth) {
    return fail(ErrorCode::kUnsupported, std::to_string(experts.used) +
                                             " experts for each token are too many for a width of " +
                                             std::to_string(config.width));
  }
  const std::uint32_t each_ffn = arch.shares_ffn ? config.ffn / experts.used : config.ffn;
  CAIRN_TRY(experts.ffn, reader.count_or("expert_feed_forward_length", kMaxExpertFfn, each_ffn));
  CAIRN_TRY_VOID(read_shared(reader, arch, config));
  CAIRN_TRY(experts.normed, file.get_or<bool>(config.arch + ".expert_weights_norm", arch.norms_expert_weights));
  experts.normed = experts.normed || arch.softmax_of_chosen;
  experts.biases = arch.expert_biases;
  CAIRN_TRY(experts.scale, reader.amount_or("expert_weights_scale", 0.0f));
  if (experts.scale == 0.0f) experts.scale = 1.0f;
  experts.choice_bias = arch.latent && has_choice_bias(file, config);
  CAIRN_TRY_VOID(read_gate(reader, arch, config));
  return read_groups(reader, config);
}

Result<std::uint32_t> read_dense_layers(const MetadataReader& reader, const ModelConfig& config) {
  if (config.experts.count == 0) return config.layers;
  CAIRN_TRY(const std::uint32_t dense, reader.optional_count("leading_dense_block_count", config.layers));
  return dense;
}

}  // namespace cairn
