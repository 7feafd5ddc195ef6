// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/forward.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <string>
#include <utility>

#include "cairn/kernels/kernels.h"

namespace cairn {
namespace {

void scale(float* x, std::size_t count, float factor) {
  for (std::size_t i = 0; i < count; ++i) x[i] *= factor;
}

// One more in the exponent of what is not finite reaches the sign.
bool finite_row(const float* x, std::size_t count) {
  std::uint32_t signs = 0;
  for (std::size_t i = 0; i < count; ++i) signs |= (std::bit_cast<std::uint32_t>(x[i]) & 0x7fffffffu) + 0x00800000u;
  return signs >> 31 == 0;
}

std::unexpected<Error> not_finite(std::uint32_t layer, const char* what) {
  return fail(ErrorCode::kCorrupt, "layer " + std::to_string(layer) + "'s " + what +
                                       " are not finite: the model's weights are damaged or overflow, check the file");
}

}  // namespace

Forward::Forward(ModelWeights& weights, std::vector<LayerSpec> layers, ThreadPool& pool, const KvTap* tap,
                 SignalListener* listener)
    : weights_(weights),
      config_(weights.config()),
      layers_(std::move(layers)),
      pool_(pool),
      tap_(tap),
      linear_(pool),
      passes_(config_.heads, pool, listener),
      rotations_(layers_),
      feed_forward_(config_, linear_, pool),
      latent_(config_, linear_, pool) {}

Status Forward::run(std::span<const ForwardRows> batch) {
  CAIRN_TRY_VOID(take_rows(batch));
  CAIRN_TRY(Pass pass, begin(batch));
  CAIRN_TRY_VOID(compute(pass));
  return pass.commit(tokens_);
}

Status Forward::take_rows(std::span<const ForwardRows> batch) {
  rows_.clear();
  tokens_.clear();
  positions_.clear();
  for (const ForwardRows& part : batch) {
    if (part.tokens.empty()) return fail(ErrorCode::kInvalidArgument, "a forward pass needs at least one token");
    if (part.logit_rows > 0 && part.logits == nullptr) {
      return fail(ErrorCode::kInvalidArgument, "logits are wanted, but there is nowhere to put them");
    }
    if (!part.slots.empty() && part.slots.size() != part.tokens.size()) {
      return fail(ErrorCode::kInvalidArgument, "a forward pass needs a slot for each token, or none");
    }
    const auto count = static_cast<std::uint32_t>(part.tokens.size());
    for (std::uint32_t i = 0; i < count; ++i) {
      const TokenId token = part.tokens[i];
      if (token < 0 || static_cast<std::uint32_t>(token) >= config_.vocab) {
        return fail(ErrorCode::kInvalidArgument, "token id " + std::to_string(token) +
                                                     " is outside the vocabulary of " + std::to_string(config_.vocab));
      }
      const std::uint32_t first_logits = count - std::min(count, part.logit_rows);
      float* logits = i < first_logits ? nullptr : part.logits + std::size_t{i - first_logits} * config_.vocab;
      rows_.push_back({token, static_cast<std::uint32_t>(rows_.size()), logits});
      tokens_.push_back(token);
      positions_.push_back(static_cast<std::int32_t>(part.slots.empty() ? part.sequence->size() + i : part.slots[i]));
    }
  }
  if (rows_.size() > kMaxRows) {
    return fail(ErrorCode::kInvalidArgument, "a forward pass takes at most " + std::to_string(kMaxRows) + " tokens");
  }
  return {};
}

Result<Pass> Forward::begin(std::span<const ForwardRows> batch) {
  pass_rows_.clear();
  const std::int32_t* positions = positions_.data();
  for (const ForwardRows& part : batch) {
    pass_rows_.push_back({part.sequence, {positions, part.tokens.size()}, part.slots});
    positions += part.tokens.size();
  }
  return passes_.begin(pass_rows_);
}

Status Forward::compute(Pass& pass) {
  embed();
  leave_ = leaving_layer(pass);
  for (std::uint32_t l = 0; l < config_.layers; ++l) {
    CAIRN_TRY_VOID(attention_block(l, pass));
    if (rows_.empty()) return {};  // no logits are wanted: keys and values were all there was to do
    feed_forward(weights_.layers()[layers_[l].weights]);
  }
  write_logits();
  return {};
}

void Forward::embed() {
  float* x = x_.ensure(rows_.size() * config_.width);
  pool_.run(rows_.size(), [&](std::size_t r, unsigned) { weights_.embedding(rows_[r].token, x + r * config_.width); });
  rotations_.prepare(positions_, pool_);
}

void Forward::norm_rows(const float* weight) {
  float* normed = normed_.ensure(rows_.size() * config_.width);
  pool_.run(rows_.size(), [&](std::size_t r, unsigned) {
    kernels().rms_norm(x_.data() + r * config_.width, weight, config_.rms_eps, config_.width,
                       normed + r * config_.width);
  });
}

// What a block gave joins the residual stream.
void Forward::add_projected(std::span<const float> bias, std::span<const float> norm) {
  const std::size_t width = config_.width;
  pool_.run(rows_.size(), [&](std::size_t r, unsigned) {
    float* y = projected_.data() + r * width;
    if (!bias.empty()) kernels().add(y, bias.data(), width);
    if (!norm.empty()) kernels().rms_norm(y, norm.data(), config_.rms_eps, width, y);
    if (config_.residual_scale != 1.0f) scale(y, width, config_.residual_scale);
    kernels().add(x_.data() + r * width, y, width);
  });
}

Status Forward::attention_block(std::uint32_t l, Pass& pass) {
  const PageShape shape = layers_[l].shape;
  const std::size_t q_width = std::size_t{config_.heads} * shape.head_dim;
  norm_rows(weights_.layers()[layers_[l].weights].attn_norm.data());
  const std::size_t kv_width = layers_[l].kv_map == l ? shape.values_per_token() : 0;
  project(l, q_width, kv_width);
  CAIRN_TRY_VOID(prepare_heads(l));
  if (kv_width != 0) store(l, pass);
  const bool all_rows = pass.needs_all_rows(l);
  if (l == leave_ && !all_rows) keep_logit_rows(q_.data(), q_width);
  CAIRN_TRY_VOID(attend(l, pass));
  if (l == leave_ && all_rows) keep_logit_rows(attended_.data(), std::size_t{config_.heads} * shape.value_dim());
  if (!rows_.empty()) project_attended(l);
  return {};
}

// Queries of all rows, and keys and values where the layer has its own.
void Forward::project(std::uint32_t l, std::size_t q_width, std::size_t kv_width) {
  LayerWeights& layer = weights_.layers()[layers_[l].weights];
  const auto rows = static_cast<std::uint32_t>(rows_.size());
  float* q = q_.ensure(rows * q_width);
  float* k = k_.ensure(rows * kv_width);
  if (config_.latent.rank != 0) {
    latent_.project(layer.latent, normed_.data(), rows, q, k);
    return;
  }
  const LinearTarget qkv[] = {
      {&layer.q, q, q_width}, {&layer.k, k, kv_width}, {&layer.v, v_.ensure(rows * kv_width), kv_width}};
  linear_.multiply(normed_.data(), rows, config_.width, std::span(qkv).first(kv_width == 0 ? 1 : 3));
}

// What attention gave joins the residual stream.
void Forward::project_attended(std::uint32_t l) {
  LayerWeights& layer = weights_.layers()[layers_[l].weights];
  const auto rows = static_cast<std::uint32_t>(rows_.size());
  const std::uint32_t width = layer.output.cols();
  const float* attended = attended_.data();
  if (config_.latent.rank != 0) {
    float* expanded = expanded_.ensure(std::size_t{rows} * width);
    latent_.expand(layer.latent, attended, rows, expanded);
    attended = expanded;
  }
  const LinearTarget output[] = {{&layer.output, projected_.ensure(std::size_t{rows} * config_.width), config_.width}};
  linear_.multiply(attended, rows, width, output);
  add_projected(layer.output_bias, layer.attn_post_norm);
}

// Biases, norms of heads, rotation, and the softmax scale on the queries. Open pages turn what is no number into zero,
// so nobody would see it later.
Status Forward::prepare_heads(std::uint32_t l) {
  const Kernels& kernel = kernels();
  const LayerWeights& layer = weights_.layers()[layers_[l].weights];
  const std::uint32_t dim = layers_[l].shape.head_dim, kv_heads = layers_[l].shape.kv_heads;
  const bool whole = config_.qk_norm == QkNorm::kWhole;
  const auto prepare = [&](float* x, std::uint32_t heads, std::size_t row, const std::vector<float>& bias,
                           const std::vector<float>& norm) {
    if (!bias.empty()) kernel.add(x, bias.data(), std::size_t{heads} * dim);
    if (whole) kernel.rms_norm(x, norm.data(), config_.rms_eps, std::size_t{heads} * dim, x);
    for (float* head = x; head != x + std::size_t{heads} * dim; head += dim) {
      if (!whole && !norm.empty()) kernel.rms_norm(head, norm.data(), config_.rms_eps, dim, head);
      rotations_.turn(l, row, head);
    }
  };
  const bool own_keys = layers_[l].kv_map == l;
  const std::size_t q_width = std::size_t{config_.heads} * dim, kv_width = std::size_t{kv_heads} * dim;
  std::atomic<bool> finite_keys{true}, finite_values{true};
  pool_.run(rows_.size(), [&](std::size_t r, unsigned) {
    float* q = q_.data() + r * q_width;
    prepare(q, config_.heads, rows_[r].in_pass, layer.q_bias, layer.q_norm);
    scale(q, q_width, score_scale(positions_[rows_[r].in_pass]));
    if (!own_keys) return;
    float* k = k_.data() + r * kv_width;
    prepare(k, kv_heads, rows_[r].in_pass, layer.k_bias, layer.k_norm);
    if (!finite_row(k, kv_width)) finite_keys = false;
    if (!layers_[l].shape.has_value_pages()) return;
    float* v = v_.data() + r * kv_width;
    if (!layer.v_bias.empty()) kernel.add(v, layer.v_bias.data(), kv_width);
    if (!finite_row(v, kv_width)) finite_values = false;
  });
  if (!finite_keys) return not_finite(l, "keys");
  if (!finite_values) return not_finite(l, "values");
  return {};
}

float Forward::score_scale(std::int32_t position) const {
  if (config_.sharpening == 0.0f) return config_.attention_scale;
  const double turns = std::floor(static_cast<double>(position) / config_.sharpened_every);
  return static_cast<float>(static_cast<double>(config_.attention_scale) *
                            (1.0 + static_cast<double>(config_.sharpening) * std::log(1.0 + turns)));
}

// All rows are there still: a layer with keys of its own is not behind leave_.
void Forward::store(std::uint32_t l, Pass& pass) {
  const std::size_t kv_width = layers_[l].shape.values_per_token();
  if (tap_ != nullptr) {
    pool_.run(rows_.size(), [&](std::size_t r, unsigned) {
      float* v = layers_[l].shape.has_value_pages() ? v_.data() + r * kv_width : nullptr;
      tap_->change(l, positions_[r], k_.data() + r * kv_width, v);
    });
  }
  pass.append(l, k_.data(), v_.data(), normed_.data());
}

Status Forward::attend(std::uint32_t l, Pass& pass) {
  query_rows_.resize(rows_.size());
  for (std::size_t r = 0; r < rows_.size(); ++r) query_rows_[r] = rows_[r].in_pass;
  float* out = attended_.ensure(rows_.size() * config_.heads * layers_[l].shape.value_dim());
  return pass.attend({.layer = l,
                      .rows = query_rows_,
                      .q = q_.data(),
                      .out = out,
                      .score_cap = config_.attention_cap,
                      .sinks = weights_.layers()[layers_[l].weights].sinks});
}

// The layer at which rows without logits have done their part: it is the last one with keys of its own, or the last one
// whose queries a listener asks for.
std::uint32_t Forward::leaving_layer(const Pass& pass) const {
  std::uint32_t leave = 0;
  for (std::uint32_t l = 0; l < config_.layers; ++l) {
    if (layers_[l].kv_map == l || pass.needs_all_rows(l)) leave = l;
  }
  return leave;
}

// Rows with logits alone go on: their residual stream, and `per_head` [rows, width].
void Forward::keep_logit_rows(float* per_head, std::size_t width) {
  std::size_t kept = 0;
  for (std::size_t r = 0; r < rows_.size(); ++r) {
    if (rows_[r].logits == nullptr) continue;
    rows_[kept] = rows_[r];
    std::copy_n(per_head + r * width, width, per_head + kept * width);
    std::copy_n(x_.data() + r * config_.width, config_.width, x_.data() + kept * config_.width);
    ++kept;
  }
  rows_.resize(kept);
}

void Forward::feed_forward(LayerWeights& layer) {
  norm_rows(layer.ffn_norm.data());
  const auto rows = static_cast<std::uint32_t>(rows_.size());
  feed_forward_.compute(layer, normed_.data(), rows, projected_.ensure(std::size_t{rows} * config_.width));
  add_projected({}, layer.ffn_post_norm);
}

void Forward::write_logits() {
  norm_rows(weights_.output_norm().data());
  const std::size_t vocab = config_.vocab;
  const LinearTarget target[] = {{&weights_.output(), logits_.ensure(rows_.size() * vocab), vocab}};
  linear_.multiply(normed_.data(), static_cast<std::uint32_t>(rows_.size()), config_.width, target);
  for (std::size_t r = 0; r < rows_.size(); ++r) {
    std::copy_n(logits_.data() + r * vocab, vocab, rows_[r].logits);
    if (config_.logit_scale != 1.0f) scale(rows_[r].logits, vocab, 1.0f / config_.logit_scale);
    if (config_.logit_cap != 0.0f) kernels().soft_cap(rows_[r].logits, vocab, config_.logit_cap);
  }
}

}  // namespace cairn
