// SPDX-License-Identifier: Apache-2.0
// Test support: a forward pass of plain loops in doubles, written from the papers. It shares nothing with the engine's
// but the names of tensors, what the metadata means, and the angles of RoPE, each of which has tests of its own.
#pragma once

#include <cmath>
#include <cstdint>
#include <map>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "cairn/block/rope.h"
#include "cairn/engine/model_config.h"
#include "cairn/gguf/gguf.h"

namespace cairn {

// Thread-compatible.
class PlainModel {
 public:
  using Vector = std::vector<double>;

  PlainModel(const GgufFile& file, ModelConfig config) : config_(std::move(config)) {
    for (const GgufTensor& tensor : file.tensors()) {
      const auto values = tensor.to_f32();
      tensors_[std::string(tensor.name)] = Vector(values->begin(), values->end());
    }
    keys_.resize(config_.layers);
    values_.resize(config_.layers);
  }

  // Appends a token; the logits of what follows it.
  Vector step(TokenId token) {
    const auto position = static_cast<std::int64_t>(keys_[0].size());
    const auto embedding = tensors_.at("token_embd.weight").begin() + token * std::ptrdiff_t{config_.width};
    Vector x(embedding, embedding + config_.width);
    for (double& value : x) value *= gemma() ? std::sqrt(config_.width) : 1;
    for (std::uint32_t l = 0; l < config_.layers; ++l) {
      const std::string blk = "blk." + std::to_string(l) + ".";
      Vector h = norm(x, blk + "attn_norm.weight");
      Vector q = project(blk + "attn_q", h);
      turn(l, q, blk + "attn_q_norm.weight", position);
      if (layer(l).kv_map == l) {
        Vector k = project(blk + "attn_k", h);
        turn(l, k, blk + "attn_k_norm.weight", position);
        keys_[l].push_back(k);
        values_[l].push_back(project(blk + "attn_v", h));
      }
      add(x, norm_after(project(blk + "attn_output", attend(l, q)), blk + "post_attention_norm.weight"));
      h = norm(x, blk + "ffn_norm.weight");
      Vector gate = project(blk + "ffn_gate", h);
      const Vector up = project(blk + "ffn_up", h);
      for (std::size_t i = 0; i < gate.size(); ++i) gate[i] = activation(gate[i]) * up[i];
      add(x, norm_after(project(blk + "ffn_down", gate), blk + "post_ffw_norm.weight"));
    }
    Vector logits =
        project(tensors_.contains("output.weight") ? "output" : "token_embd", norm(x, "output_norm.weight"));
    for (double& logit : logits) logit = capped(logit, config_.logit_cap);
    return logits;
  }

 private:
  bool gemma() const { return config_.arch.starts_with("gemma"); }

  static double capped(double value, float cap) { return cap == 0 ? value : cap * std::tanh(value / cap); }

  double activation(double x) const {
    if (!gemma()) return x / (1 + std::exp(-x));
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
  }

  Vector norm_after(Vector x, const std::string& weight) const {
    return tensors_.contains(weight) ? norm(x, weight) : x;
  }

  static void add(Vector& x, const Vector& y) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  }

  Vector norm(const Vector& x, const std::string& weight) const {
    double squares = 0;
    for (const double value : x) squares += value * value;
    Vector y = tensors_.at(weight);
    const double scale = 1 / std::sqrt(squares / static_cast<double>(x.size()) + config_.rms_eps);
    for (std::size_t i = 0; i < x.size(); ++i) y[i] *= x[i] * scale;
    return y;
  }

  // W x, and the bias if the model has one.
  Vector project(const std::string& name, const Vector& x) const {
    const Vector& weight = tensors_.at(name + ".weight");
    const auto bias = tensors_.find(name + ".bias");
    Vector y = bias != tensors_.end() ? bias->second : Vector(weight.size() / x.size());
    for (std::size_t i = 0; i < weight.size(); ++i) y[i / x.size()] += weight[i] * x[i % x.size()];
    return y;
  }

  const LayerSpec& layer(std::uint32_t l) const { return config_.each_layer[l].cache; }

  // The norm of each head if the model has one, then the rotation.
  void turn(std::uint32_t l, Vector& heads, const std::string& weight, std::int64_t position) const {
    const RopeSpec& rope = layer(l).rope;
    const std::uint32_t dim = config_.head_dim, pairs = rope.dims / 2;
    std::vector<float> cos(pairs), sin(pairs);
    rope_cos_sin(rope, position, cos, sin);
    for (std::size_t first = 0; first < heads.size(); first += dim) {
      Vector head(heads.begin() + static_cast<std::ptrdiff_t>(first),
                  heads.begin() + static_cast<std::ptrdiff_t>(first + dim));
      if (tensors_.contains(weight)) head = norm(head, weight);
      for (std::uint32_t i = 0; i < pairs; ++i) {
        const bool neighbours = rope.pairing == RopePairing::kNeighbours;
        double& a = head[neighbours ? 2 * i : i];
        double& b = head[neighbours ? 2 * i + 1 : i + pairs];
        const double turned = a * cos[i] - b * sin[i];
        b = a * sin[i] + b * cos[i];
        a = turned;
      }
      std::ranges::copy(head, heads.begin() + static_cast<std::ptrdiff_t>(first));
    }
  }

  Vector attend(std::uint32_t l, const Vector& q) const {
    const std::uint32_t dim = config_.head_dim, window = layer(l).window;
    const std::vector<Vector>&keys = keys_[layer(l).kv_map], &values = values_[layer(l).kv_map];
    const std::size_t first = window == 0 || keys.size() < window ? 0 : keys.size() - window;
    Vector out(q.size());
    for (std::uint32_t h = 0; h < config_.heads; ++h) {
      const std::size_t shared = std::size_t{h / (config_.heads / config_.kv_heads)} * dim;
      double total = 0;
      for (std::size_t t = first; t < keys.size(); ++t) {
        double score = 0;
        for (std::uint32_t d = 0; d < dim; ++d) score += q[h * dim + d] * keys[t][shared + d];
        const double weight = std::exp(capped(score * config_.attention_scale, config_.attention_cap));
        total += weight;
        for (std::uint32_t d = 0; d < dim; ++d) out[h * dim + d] += weight * values[t][shared + d];
      }
      for (std::uint32_t d = 0; d < dim; ++d) out[h * dim + d] /= total;
    }
    return out;
  }

  ModelConfig config_;
  std::map<std::string, Vector> tensors_;
  std::vector<std::vector<Vector>> keys_, values_;  // [layers, tokens]
};

}  // namespace cairn
