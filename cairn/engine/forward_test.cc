// SPDX-License-Identifier: Apache-2.0
// The forward pass beside one of plain loops in doubles, written from the papers and sharing nothing with it but the
// tensors' names and the angles of RoPE, which have a test of their own.
#include "cairn/engine/forward.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <ostream>
#include <string>
#include <vector>

#include "cairn/testing/tiny_engine.h"
#include "cairn/testing/tiny_model.h"

namespace cairn {
namespace {

using Vector = std::vector<double>;

class PlainModel {
 public:
  explicit PlainModel(const GgufFile& file) : config_(*ModelConfig::from_gguf(file)) {
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
    for (std::uint32_t l = 0; l < config_.layers; ++l) {
      const std::string blk = "blk." + std::to_string(l) + ".";
      Vector h = norm(x, blk + "attn_norm.weight");
      Vector q = project(blk + "attn_q", h), k = project(blk + "attn_k", h);
      turn(q, blk + "attn_q_norm.weight", position);
      turn(k, blk + "attn_k_norm.weight", position);
      keys_[l].push_back(k);
      values_[l].push_back(project(blk + "attn_v", h));
      add(x, project(blk + "attn_output", attend(l, q)));
      h = norm(x, blk + "ffn_norm.weight");
      Vector gate = project(blk + "ffn_gate", h);
      const Vector up = project(blk + "ffn_up", h);
      for (std::size_t i = 0; i < gate.size(); ++i) gate[i] *= up[i] / (1 + std::exp(-gate[i]));
      add(x, project(blk + "ffn_down", gate));
    }
    return project(tensors_.contains("output.weight") ? "output" : "token_embd", norm(x, "output_norm.weight"));
  }

 private:
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

  // The norm of each head if the model has one, then the rotation.
  void turn(Vector& heads, const std::string& weight, std::int64_t position) const {
    const std::uint32_t dim = config_.head_dim, pairs = config_.rope.dims / 2;
    std::vector<float> cos(pairs), sin(pairs);
    rope_cos_sin(config_.rope, position, cos, sin);
    for (std::size_t first = 0; first < heads.size(); first += dim) {
      Vector head(heads.begin() + static_cast<std::ptrdiff_t>(first),
                  heads.begin() + static_cast<std::ptrdiff_t>(first + dim));
      if (tensors_.contains(weight)) head = norm(head, weight);
      for (std::uint32_t i = 0; i < pairs; ++i) {
        const bool neighbours = config_.rope.pairing == RopePairing::kNeighbours;
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
    const std::uint32_t dim = config_.head_dim;
    Vector out(q.size());
    for (std::uint32_t h = 0; h < config_.heads; ++h) {
      const std::size_t shared = std::size_t{h / (config_.heads / config_.kv_heads)} * dim;
      double total = 0;
      for (std::size_t t = 0; t < keys_[l].size(); ++t) {
        double score = 0;
        for (std::uint32_t d = 0; d < dim; ++d) score += q[h * dim + d] * keys_[l][t][shared + d];
        const double weight = std::exp(score / std::sqrt(dim));
        total += weight;
        for (std::uint32_t d = 0; d < dim; ++d) out[h * dim + d] += weight * values_[l][t][shared + d];
      }
      for (std::uint32_t d = 0; d < dim; ++d) out[h * dim + d] /= total;
    }
    return out;
  }

  ModelConfig config_;
  std::map<std::string, Vector> tensors_;
  std::vector<std::vector<Vector>> keys_, values_;  // [layers, tokens]
};

struct Case {
  std::string name, arch;
  bool tied = false, yarn = false;
  std::uint32_t head_dim = 8;
};

void PrintTo(const Case& model, std::ostream* out) {
  *out << model.name;
}

class ForwardPass : public ::testing::TestWithParam<Case> {};

TEST_P(ForwardPass, EqualsPlainLoopsInDoubles) {
  TinyModel tiny;
  tiny.arch = GetParam().arch;
  tiny.tied_output = GetParam().tied;
  tiny.head_dim = GetParam().head_dim;
  GgufBuilder builder = tiny.builder();
  if (GetParam().yarn) {
    builder.set(tiny.arch + ".rope.scaling.type", "yarn").set(tiny.arch + ".rope.scaling.factor", 4.0f);
    builder.set(tiny.arch + ".rope.scaling.original_context_length", std::uint32_t{64});
  }
  const auto bytes = builder.build();
  const auto engine = load_tiny(bytes, {.threads = 2, .codec = "raw_f32"});
  ASSERT_TRUE(engine) << engine.error().message;
  const auto file = GgufFile::parse(bytes);
  ASSERT_TRUE(file);
  PlainModel plain(*file);

  std::vector<TokenId> tokens(75);
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<TokenId>((i * i * 7 + i) % tiny.vocab);
  Sequence sequence = (*engine)->open({});
  const std::size_t prompt = 70;  // more than a block, then single tokens
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const Vector expected = plain.step(tokens[i]);
    if (i + 1 < prompt) continue;
    const auto got = i + 1 == prompt ? (*engine)->prefill(sequence, std::span(tokens).first(prompt))
                                     : (*engine)->decode(sequence, tokens[i]);
    ASSERT_TRUE(got) << got.error().message;
    for (std::size_t id = 0; id < expected.size(); ++id) ASSERT_NEAR((*got)[id], expected[id], 2e-4) << i << " " << id;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, ForwardPass,
                         ::testing::Values(Case{"llama", "llama"}, Case{"tied", "llama", true},
                                           Case{"yarn", "llama", false, true}, Case{"qwen2", "qwen2"},
                                           Case{"qwen3", "qwen3", false, false, 16}),
                         [](const auto& model) { return model.param.name; });

}  // namespace
}  // namespace cairn
