// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/model_tensors.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "cairn/engine/rope_metadata.h"

namespace cairn {
namespace {

TensorNeed matrix(std::string name, std::uint64_t cols, std::uint64_t rows) {
  return {.name = std::move(name), .cols = cols, .rows = rows, .vector = false};
}

// A matrix of each expert, or of each head.
TensorNeed experts_of(std::string name, std::uint64_t cols, std::uint64_t rows, std::uint64_t experts) {
  return {.name = std::move(name), .cols = cols, .rows = rows, .vector = false, .experts = experts};
}

TensorNeed vector(std::string name, std::uint64_t size) {
  return {.name = std::move(name), .cols = size, .rows = 1, .vector = true};
}

// One for each expert.
TensorNeed vectors(std::string name, std::uint64_t size, std::uint64_t experts) {
  return {.name = std::move(name), .cols = size, .rows = experts, .vector = true};
}

Status check_need(const GgufFile& file, const TensorNeed& need) {
  const GgufTensor* tensor = file.find_tensor(need.name);
  if (tensor == nullptr) {
    return fail(ErrorCode::kNotFound, "the model lacks tensor '" + need.name + "'; convert it again");
  }
  CAIRN_TRY(const WeightFormat format, tensor->format());
  const bool fits = need.experts == 0 ? tensor->num_dims <= 2 && tensor->dims[1] == need.rows
                                      : tensor->dims[1] == need.rows && tensor->dims[2] == need.experts;
  if (!fits || tensor->dims[3] != 1 || tensor->cols() != need.cols) {
    std::string rows = need.vector && need.rows == 1 ? "" : ", " + std::to_string(need.rows);
    if (need.experts != 0) rows += ", " + std::to_string(need.experts);
    return fail(ErrorCode::kCorrupt, "tensor '" + need.name + "' has shape " + tensor->shape() +
                                         ", but the metadata asks for [" + std::to_string(need.cols) + rows + "]");
  }
  if (need.vector && !is_dense(format)) {
    return fail(ErrorCode::kUnsupported, "tensor '" + need.name + "' has type " + gguf_tensor_type_name(tensor->type) +
                                             "; norms and biases must be F32, F16 or BF16");
  }
  return {};
}

void add_latent_attention(const ModelConfig& config, std::uint32_t layer, std::vector<TensorNeed>& needs) {
  const LatentSpec& latent = config.latent;
  const auto name = [layer](std::string_view what) { return layer_tensor(layer, what); };
  const std::uint64_t width = config.width, heads = config.heads, rank = latent.rank;
  const std::uint64_t q_width = heads * (latent.plain + config.rope.dims);
  if (latent.q_rank == 0) {
    needs.push_back(matrix(name("attn_q.weight"), width, q_width));
  } else {
    needs.push_back(matrix(name("attn_q_a.weight"), width, latent.q_rank));
    needs.push_back(vector(name("attn_q_a_norm.weight"), latent.q_rank));
    needs.push_back(matrix(name("attn_q_b.weight"), latent.q_rank, q_width));
  }
  needs.push_back(matrix(name("attn_kv_a_mqa.weight"), width, rank + config.rope.dims));
  needs.push_back(vector(name("attn_kv_a_norm.weight"), rank));
  if (latent.split) {
    needs.push_back(experts_of(name("attn_k_b.weight"), latent.plain, rank, heads));
    needs.push_back(experts_of(name("attn_v_b.weight"), rank, latent.value, heads));
  } else {
    needs.push_back(matrix(name("attn_kv_b.weight"), rank, heads * (latent.plain + latent.value)));
  }
  needs.push_back(matrix(name("attn_output.weight"), heads * latent.value, width));
}

void add_feed_forward(const ModelConfig& config, std::uint32_t layer, std::vector<TensorNeed>& needs) {
  const auto name = [layer](std::string_view what) { return layer_tensor(layer, what); };
  const std::uint64_t width = config.width, ffn = config.each_layer[layer].ffn;
  const ExpertSpec& experts = config.experts;
  if (!config.each_layer[layer].mixed) {
    if (!config.fused) needs.push_back(matrix(name("ffn_gate.weight"), width, ffn));
    needs.push_back(matrix(name("ffn_up.weight"), width, config.fused ? 2 * ffn : ffn));
    needs.push_back(matrix(name("ffn_down.weight"), ffn, width));
    return;
  }
  needs.push_back(matrix(name("ffn_gate_inp.weight"), width, experts.count));
  needs.push_back(experts_of(name("ffn_gate_exps.weight"), width, experts.ffn, experts.count));
  needs.push_back(experts_of(name("ffn_up_exps.weight"), width, experts.ffn, experts.count));
  needs.push_back(experts_of(name("ffn_down_exps.weight"), experts.ffn, width, experts.count));
  if (experts.biases) {
    needs.push_back(vector(name("ffn_gate_inp.bias"), experts.count));
    needs.push_back(vectors(name("ffn_gate_exps.bias"), experts.ffn, experts.count));
    needs.push_back(vectors(name("ffn_up_exps.bias"), experts.ffn, experts.count));
    needs.push_back(vectors(name("ffn_down_exps.bias"), width, experts.count));
  }
  if (experts.choice_bias) needs.push_back(vector(name("exp_probs_b.bias"), experts.count));
  if (experts.shared_ffn == 0) return;
  if (experts.shared_gate) needs.push_back(vector(name("ffn_gate_inp_shexp.weight"), width));
  needs.push_back(matrix(name("ffn_gate_shexp.weight"), width, experts.shared_ffn));
  needs.push_back(matrix(name("ffn_up_shexp.weight"), width, experts.shared_ffn));
  needs.push_back(matrix(name("ffn_down_shexp.weight"), experts.shared_ffn, width));
}

}  // namespace

std::string layer_tensor(std::uint32_t layer, std::string_view what) {
  return "blk." + std::to_string(layer) + "." + std::string(what);
}

std::string ffn_norm_tensor(const ModelConfig& config, std::uint32_t layer) {
  return layer_tensor(layer, config.late_ffn_norm ? "post_attention_norm.weight" : "ffn_norm.weight");
}

std::vector<TensorNeed> layer_needs(const ModelConfig& config, std::uint32_t layer) {
  const ModelLayer& own = config.each_layer[layer];
  const PageShape& shape = own.cache.shape;
  const std::uint64_t q_width = std::uint64_t{config.heads} * shape.head_dim;
  const std::uint64_t kv_width = std::uint64_t{shape.kv_heads} * shape.head_dim;
  const auto name = [layer](std::string_view what) { return layer_tensor(layer, what); };
  std::vector<TensorNeed> needs = {
      vector(name("attn_norm.weight"), config.width),
      vector(ffn_norm_tensor(config, layer), config.width),
  };
  add_feed_forward(config, layer, needs);
  if (config.latent.rank != 0) {
    add_latent_attention(config, layer, needs);
    return needs;
  }
  needs.push_back(matrix(name("attn_output.weight"), q_width, config.width));
  if (config.fused) {
    needs.push_back(matrix(name("attn_qkv.weight"), config.width, q_width + 2 * kv_width));
  } else {
    needs.push_back(matrix(name("attn_q.weight"), config.width, q_width));
  }
  if (config.qkv_bias) needs.push_back(vector(name("attn_q.bias"), q_width));
  if (config.output_bias) needs.push_back(vector(name("attn_output.bias"), config.width));
  if (config.sinks) needs.push_back(vector(name("attn_sinks.weight"), config.heads));
  const bool whole = config.qk_norm == QkNorm::kWhole;
  if (config.qk_norm != QkNorm::kNone) {
    needs.push_back(vector(name("attn_q_norm.weight"), whole ? q_width : shape.head_dim));
  }
  if (config.post_norms) {
    needs.push_back(vector(name("post_attention_norm.weight"), config.width));
    needs.push_back(vector(name("post_ffw_norm.weight"), config.width));
  }
  if (own.cache.kv_map != layer) return needs;

  if (!config.fused) {
    needs.push_back(matrix(name("attn_k.weight"), config.width, kv_width));
    needs.push_back(matrix(name("attn_v.weight"), config.width, kv_width));
  }
  if (config.qkv_bias) {
    needs.push_back(vector(name("attn_k.bias"), kv_width));
    needs.push_back(vector(name("attn_v.bias"), kv_width));
  }
  if (config.qk_norm != QkNorm::kNone) {
    needs.push_back(vector(name("attn_k_norm.weight"), whole ? kv_width : shape.head_dim));
  }
  return needs;
}

std::vector<TensorNeed> outer_needs(const ModelConfig& config) {
  std::vector<TensorNeed> needs = {
      matrix("token_embd.weight", config.width, config.vocab),
      vector("output_norm.weight", config.width),
  };
  if (!config.tied_output) needs.push_back(matrix("output.weight", config.width, config.vocab));
  return needs;
}

Status check_model_tensors(const GgufFile& file, const ModelConfig& config) {
  std::vector<std::string> known(std::begin(kRopeFactors), std::end(kRopeFactors));
  const auto check_all = [&](std::vector<TensorNeed> needs) -> Status {
    for (TensorNeed& need : needs) {
      CAIRN_TRY_VOID(check_need(file, need));
      known.push_back(std::move(need.name));
    }
    return {};
  };
  CAIRN_TRY_VOID(check_all(outer_needs(config)));
  for (std::uint32_t layer = 0; layer < config.layers; ++layer) CAIRN_TRY_VOID(check_all(layer_needs(config, layer)));

  std::ranges::sort(known);
  for (const GgufTensor& tensor : file.tensors()) {
    if (std::ranges::binary_search(known, tensor.name)) continue;
    return fail(ErrorCode::kUnsupported, "tensor " + in_quotes(tensor.name) + " is not part of a " + config.arch +
                                             " model that this build can run");
  }
  return {};
}

}  // namespace cairn
