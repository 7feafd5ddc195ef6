// SPDX-License-Identifier: Apache-2.0
// Test support: a forward pass of plain loops in doubles, written from the papers. It shares nothing with the engine's
// but the names of tensors, what the metadata means, and the angles of RoPE, each of which has tests of its own.
#pragma once

#include <algorithm>
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
    if (latent())
      grown_ = 1 + *file.get<double>("deepseek2.rope.scaling.yarn_log_multiplier") * std::log(config_.rope.factor);
    keys_.resize(config_.layers);
    values_.resize(config_.layers);
  }

  // Appends a token; the logits of what follows it.
  Vector step(TokenId token) {
    const auto position = static_cast<std::int64_t>(keys_[0].size());
    const auto embedding = tensors_.at("token_embd.weight").begin() + token * std::ptrdiff_t{config_.width};
    Vector x(embedding, embedding + config_.width);
    const double embedding_scale = gemma() ? std::sqrt(config_.width) : config_.embedding_scale;
    for (double& value : x) value *= embedding_scale;
    for (std::uint32_t l = 0; l < config_.layers; ++l) {
      const std::string blk = "blk." + std::to_string(l) + ".";
      Vector h = norm(x, blk + "attn_norm.weight");
      if (latent()) {
        add(x, project(blk + "attn_output", attend_expanded(l, h, position)));
        h = norm(x, blk + "ffn_norm.weight");
        add(x, tensors_.contains(blk + "ffn_gate_inp.weight") ? mixture_of_deepseek(blk, h) : feed_forward(blk, "", h));
        continue;
      }
      const std::size_t kv_width = layer(l).shape.values_per_token();
      const std::size_t q_width = std::size_t{config_.heads} * layer(l).shape.head_dim;
      const bool fused = tensors_.contains(blk + "attn_qkv.weight");
      const Vector qkv = fused ? project(blk + "attn_qkv", h) : Vector();
      Vector q = fused ? part(qkv, 0, q_width) : project(blk + "attn_q", h);
      turn(l, q, blk + "attn_q_norm.weight", position);
      if (config_.sharpening != 0) {
        const auto turns = static_cast<double>(position / config_.sharpened_every);
        for (double& value : q) value *= 1 + config_.sharpening * std::log(1 + turns);
      }
      if (layer(l).kv_map == l) {
        Vector k = fused ? part(qkv, q_width, kv_width) : project(blk + "attn_k", h);
        turn(l, k, blk + "attn_k_norm.weight", position);
        keys_[l].push_back(k);
        values_[l].push_back(fused ? part(qkv, q_width + kv_width, kv_width) : project(blk + "attn_v", h));
      }
      const std::string after = blk + "post_attention_norm.weight";
      const Vector attended = project(blk + "attn_output", attend(l, q));
      add(x, gpt_oss() ? attended : norm_after(attended, after));
      h = norm(x, gpt_oss() ? after : blk + "ffn_norm.weight");
      const bool mixed = tensors_.contains(blk + "ffn_gate_inp.weight");
      add(x, norm_after(mixed ? mixture(blk, h) : feed_forward(blk, "", h), blk + "post_ffw_norm.weight"));
    }
    Vector logits =
        project(tensors_.contains("output.weight") ? "output" : "token_embd", norm(x, "output_norm.weight"));
    for (double& logit : logits) logit = capped(logit / config_.logit_scale, config_.logit_cap);
    return logits;
  }

 private:
  bool latent() const { return config_.arch == "deepseek2"; }

  bool gemma() const { return config_.arch.starts_with("gemma"); }

  bool gpt_oss() const { return config_.arch == "gpt-oss"; }

  static double capped(double value, float cap) { return cap == 0 ? value : cap * std::tanh(value / cap); }

  double gated(double x, double up) const {
    if (gpt_oss()) {
      x = std::min(x, 7.0);
      return x / (1 + std::exp(-1.702 * x)) * (std::clamp(up, -7.0, 7.0) + 1);
    }
    if (!gemma()) return x / (1 + std::exp(-x)) * up;
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x))) * up;
  }

  Vector norm_after(Vector x, const std::string& weight) const {
    return tensors_.contains(weight) ? norm(x, weight) : x;
  }

  // A block's result joins the residual stream.
  void add(Vector& x, const Vector& y) const {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += config_.residual_scale * y[i];
  }

  static Vector part(const Vector& x, std::size_t first, std::size_t count) {
    const auto begin = x.begin() + static_cast<std::ptrdiff_t>(first);
    return {begin, begin + static_cast<std::ptrdiff_t>(count)};
  }

  // `kind` is what the names of its tensors end in: "", "_shexp".
  Vector feed_forward(const std::string& blk, const std::string& kind, const Vector& x) const {
    const bool fused = !tensors_.contains(blk + "ffn_gate" + kind + ".weight");
    const Vector up = project(blk + "ffn_up" + kind, x);
    const Vector gate = fused ? part(up, 0, up.size() / 2) : project(blk + "ffn_gate" + kind, x);
    Vector inside(gate.size());
    for (std::size_t i = 0; i < gate.size(); ++i) {
      inside[i] = gated(gate[i], up[fused ? gate.size() + i : i]);
    }
    return project(blk + "ffn_down" + kind, inside);
  }

  Vector expert(const std::string& blk, std::size_t number, const Vector& x) const {
    const auto times = [&](const std::string& what, const Vector& y) {
      const Vector& all = tensors_.at(blk + what + "_exps.weight");
      const std::size_t each = all.size() / config_.experts.count;
      const std::size_t rows = each / y.size();
      const auto bias = tensors_.find(blk + what + "_exps.bias");
      Vector z = bias == tensors_.end() ? Vector(rows) : part(bias->second, number * rows, rows);
      for (std::size_t i = 0; i < each; ++i) z[i / y.size()] += all[number * each + i] * y[i % y.size()];
      return z;
    };
    Vector gate = times("ffn_gate", x);
    const Vector up = times("ffn_up", x);
    for (std::size_t i = 0; i < gate.size(); ++i) gate[i] = gated(gate[i], up[i]);
    return times("ffn_down", gate);
  }

  Vector mixture(const std::string& blk, const Vector& x) const {
    const Vector scores = project(blk + "ffn_gate_inp", x);
    double total = 0, chosen_total = 0;
    for (const double score : scores) total += std::exp(score);
    std::multimap<double, std::size_t> by_probability;
    for (std::size_t e = 0; e < scores.size(); ++e) by_probability.emplace(std::exp(scores[e]) / total, e);
    auto chosen = by_probability.rbegin();
    for (std::uint32_t i = 0; i < config_.experts.used; ++i) chosen_total += (chosen++)->first;
    Vector out(x.size());
    chosen = by_probability.rbegin();
    const bool normed = config_.arch == "llama" || config_.arch == "qwen3moe" || gpt_oss();
    for (std::uint32_t i = 0; i < config_.experts.used; ++i, ++chosen) {
      const Vector given = expert(blk, chosen->second, x);
      const double weight = chosen->first / (normed ? chosen_total : 1);
      for (std::size_t d = 0; d < out.size(); ++d) out[d] += weight * given[d];
    }
    if (config_.arch != "qwen2moe") return out;
    const double open = 1 / (1 + std::exp(-project(blk + "ffn_gate_inp_shexp", x)[0]));
    const Vector shared = feed_forward(blk, "_shexp", x);
    for (std::size_t d = 0; d < out.size(); ++d) out[d] += open * shared[d];
    return out;
  }

  // As the paper on DeepSeek-V2 defines it: every head has keys and values of its own, expanded from the latent.
  Vector attend_expanded(std::uint32_t l, const Vector& x, std::int64_t position) {
    const std::string blk = "blk." + std::to_string(l) + ".";
    const LatentSpec& spec = config_.latent;
    const std::size_t heads = config_.heads, turning = config_.rope.dims, dim = spec.plain + turning;
    Vector q = spec.q_rank == 0
                   ? project(blk + "attn_q", x)
                   : project(blk + "attn_q_b", norm(project(blk + "attn_q_a", x), blk + "attn_q_a_norm.weight"));
    Vector both = project(blk + "attn_kv_a_mqa", x);
    turn_neighbours(both, spec.rank, position);
    const Vector latent = norm(part(both, 0, spec.rank), blk + "attn_kv_a_norm.weight");
    Vector k(heads * dim), v(heads * spec.value);
    for (std::size_t h = 0; h < heads; ++h) {
      turn_neighbours(q, h * dim + spec.plain, position);
      for (std::size_t i = 0; i < dim; ++i) {
        k[h * dim + i] = i < spec.plain ? expanded(blk, h, i, latent) : both[spec.rank + i - spec.plain];
      }
      for (std::size_t i = 0; i < spec.value; ++i) v[h * spec.value + i] = expanded(blk, h, spec.plain + i, latent);
    }
    keys_[l].push_back(k);
    values_[l].push_back(v);
    Vector out(v.size());
    for (std::size_t h = 0; h < heads; ++h) {
      double total = 0;
      for (std::size_t t = 0; t < keys_[l].size(); ++t) {
        double score = 0;
        for (std::size_t d = h * dim; d < (h + 1) * dim; ++d) score += q[d] * keys_[l][t][d];
        const double weight = std::exp(score * grown_ * grown_ / std::sqrt(static_cast<double>(dim)));
        total += weight;
        for (std::size_t i = h * spec.value; i < (h + 1) * spec.value; ++i) out[i] += weight * values_[l][t][i];
      }
      for (std::size_t i = h * spec.value; i < (h + 1) * spec.value; ++i) out[i] /= total;
    }
    return out;
  }

  // Number i of a head's key and then value.
  double expanded(const std::string& blk, std::size_t head, std::size_t i, const Vector& latent) const {
    const LatentSpec& spec = config_.latent;
    const auto both = tensors_.find(blk + "attn_kv_b.weight");
    double sum = 0;
    for (std::size_t r = 0; r < spec.rank; ++r) {
      double weight = 0;
      if (both != tensors_.end()) {
        weight = both->second[(head * (spec.plain + spec.value) + i) * spec.rank + r];
      } else if (i < spec.plain) {
        weight = tensors_.at(blk + "attn_k_b.weight")[(head * spec.rank + r) * spec.plain + i];
      } else {
        weight = tensors_.at(blk + "attn_v_b.weight")[(head * spec.value + i - spec.plain) * spec.rank + r];
      }
      sum += weight * latent[r];
    }
    return sum;
  }

  void turn_neighbours(Vector& x, std::size_t first, std::int64_t position) const {
    const std::uint32_t pairs = config_.rope.dims / 2;
    std::vector<float> cos(pairs), sin(pairs);
    rope_cos_sin(config_.rope, position, cos, sin);
    for (std::uint32_t i = 0; i < pairs; ++i) {
      double& a = x[first + 2 * i];
      double& b = x[first + 2 * i + 1];
      const double turned = a * cos[i] - b * sin[i];
      b = a * sin[i] + b * cos[i];
      a = turned;
    }
  }

  Vector mixture_of_deepseek(const std::string& blk, const Vector& x) const {
    const std::size_t count = config_.experts.count;
    const auto bias = tensors_.find(blk + "exp_probs_b.bias");
    const bool v3 = bias != tensors_.end();
    Vector probability = project(blk + "ffn_gate_inp", x);
    double total = 0, chosen_total = 0;
    for (const double score : probability) total += std::exp(score);
    for (double& score : probability) score = v3 ? 1 / (1 + std::exp(-score)) : std::exp(score) / total;
    const std::size_t groups = v3 ? 4 : 1, each = count / groups;
    std::multimap<double, std::size_t> by_sum, by_rank;
    const auto rank = [&](std::size_t e) { return probability[e] + (v3 ? bias->second[e] : 0); };
    for (std::size_t g = 0; g < groups; ++g) {
      Vector ranks;
      for (std::size_t e = g * each; e < (g + 1) * each; ++e) ranks.push_back(rank(e));
      std::ranges::sort(ranks);
      by_sum.emplace(ranks[each - 1] + ranks[each - 2], g);
    }
    auto group = by_sum.rbegin();
    for (std::size_t i = 0; i < (v3 ? 2 : 1); ++i, ++group) {
      for (std::size_t e = group->second * each; e < (group->second + 1) * each; ++e) by_rank.emplace(rank(e), e);
    }
    auto chosen = by_rank.rbegin();
    for (std::uint32_t i = 0; i < config_.experts.used; ++i) chosen_total += probability[(chosen++)->second];
    Vector out = feed_forward(blk, "_shexp", x);
    chosen = by_rank.rbegin();
    for (std::uint32_t i = 0; i < config_.experts.used; ++i, ++chosen) {
      const Vector given = expert(blk, chosen->second, x);
      const double weight = probability[chosen->second] * (v3 ? 2.5 / chosen_total : 1);
      for (std::size_t d = 0; d < out.size(); ++d) out[d] += weight * given[d];
    }
    return out;
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
    if (tensors_.contains(weight) && tensors_.at(weight).size() == heads.size()) heads = norm(heads, weight);
    const std::uint32_t dim = config_.head_dim, pairs = rope.dims / 2;
    std::vector<float> cos(pairs), sin(pairs);
    rope_cos_sin(rope, position, cos, sin);
    for (std::size_t first = 0; first < heads.size(); first += dim) {
      Vector head(heads.begin() + static_cast<std::ptrdiff_t>(first),
                  heads.begin() + static_cast<std::ptrdiff_t>(first + dim));
      if (tensors_.contains(weight) && tensors_.at(weight).size() == dim) head = norm(head, weight);
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
      const auto sinks = tensors_.find("blk." + std::to_string(l) + ".attn_sinks.weight");
      double total = sinks == tensors_.end() ? 0 : std::exp(sinks->second[h]);
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
  double grown_ = 1;  // deepseek2: what YaRN multiplies queries and keys by
  std::map<std::string, Vector> tensors_;
  std::vector<std::vector<Vector>> keys_, values_;  // [layers, tokens]
};

}  // namespace cairn
