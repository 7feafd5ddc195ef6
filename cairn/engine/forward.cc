// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/forward.h"

#include <algorithm>
#include <string>

#include "cairn/kernels/kernels.h"

namespace cairn {

Forward::Forward(ModelWeights& weights, ThreadPool& pool, const KvTap* tap)
    : weights_(weights),
      config_(weights.config()),
      pool_(pool),
      tap_(tap),
      linear_(pool),
      attention_(config_.heads, pool),
      frequencies_(config_.rope.inverse_frequencies()) {}

Status Forward::run(std::span<const ForwardRows> batch) {
  rows_.clear();
  positions_.clear();
  for (const ForwardRows& part : batch) {
    if (part.tokens.empty()) return fail(ErrorCode::kInvalidArgument, "a forward pass needs at least one token");
    if (part.logit_rows > 0 && part.logits == nullptr) {
      return fail(ErrorCode::kInvalidArgument, "logits are wanted, but there is nowhere to put them");
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
      rows_.push_back({&part, i, logits});
      positions_.push_back(static_cast<std::int32_t>(part.sequence->size() + i));
    }
  }
  if (rows_.size() > kMaxRows) {
    return fail(ErrorCode::kInvalidArgument, "a forward pass takes at most " + std::to_string(kMaxRows) + " tokens");
  }
  CAIRN_TRY_VOID(reserve(batch));
  if (Status computed = compute(batch); !computed) {
    for (const ForwardRows& part : batch) part.sequence->rollback();
    return computed;
  }
  for (const ForwardRows& part : batch) CAIRN_TRY_VOID(part.sequence->commit(part.tokens));
  return {};
}

// All or none.
Status Forward::reserve(std::span<const ForwardRows> batch) {
  const std::int32_t* positions = positions_.data();
  for (std::size_t i = 0; i < batch.size(); ++i) {
    if (Status room = batch[i].sequence->reserve({positions, batch[i].tokens.size()}); !room) {
      for (std::size_t j = 0; j < i; ++j) batch[j].sequence->rollback();
      return room;
    }
    positions += batch[i].tokens.size();
  }
  return {};
}

Status Forward::compute(std::span<const ForwardRows> batch) {
  embed();
  for (std::uint32_t l = 0; l < config_.layers; ++l) {
    CAIRN_TRY_VOID(attention_block(l, batch));
    if (rows_.empty()) return {};  // nobody wants logits: the last layer's keys and values were all there was to do
    CAIRN_TRY_VOID(feed_forward(weights_.layers()[l]));
  }
  return write_logits();
}

void Forward::embed() {
  const std::size_t rows = rows_.size(), pairs = frequencies_.size();
  float* x = x_.ensure(rows * config_.width);
  float* cos = cos_.ensure(rows * pairs);
  float* sin = sin_.ensure(rows * pairs);
  const double magnitude = config_.rope.magnitude();
  pool_.run(rows, [&](std::size_t r, unsigned) {
    weights_.embedding(rows_[r].source->tokens[rows_[r].offset], x + r * config_.width);
    rope_cos_sin(frequencies_, magnitude, positions_[r], {cos + r * pairs, pairs}, {sin + r * pairs, pairs});
  });
}

void Forward::norm_rows(const float* weight) {
  float* normed = normed_.ensure(rows_.size() * config_.width);
  pool_.run(rows_.size(), [&](std::size_t r, unsigned) {
    kernels().rms_norm(x_.data() + r * config_.width, weight, config_.rms_eps, config_.width,
                       normed + r * config_.width);
  });
}

void Forward::add_rows(const float* y) {
  pool_.run(rows_.size(), [&](std::size_t r, unsigned) {
    kernels().add(x_.data() + r * config_.width, y + r * config_.width, config_.width);
  });
}

Status Forward::attention_block(std::uint32_t l, std::span<const ForwardRows> batch) {
  LayerWeights& layer = weights_.layers()[l];
  const std::size_t q_width = std::size_t{config_.heads} * config_.head_dim;
  const std::size_t kv_width = std::size_t{config_.kv_heads} * config_.head_dim;
  norm_rows(layer.attn_norm.data());
  const LinearTarget qkv[] = {{&layer.q, q_.ensure(rows_.size() * q_width), q_width},
                              {&layer.k, k_.ensure(rows_.size() * kv_width), kv_width},
                              {&layer.v, v_.ensure(rows_.size() * kv_width), kv_width}};
  CAIRN_TRY_VOID(linear_.multiply(normed_.data(), static_cast<std::uint32_t>(rows_.size()), config_.width, qkv));
  rotate(layer);
  float* k = k_.data();
  float* v = v_.data();
  const std::int32_t* position = positions_.data();
  for (const ForwardRows& part : batch) {
    pool_.run(part.tokens.size(), [&](std::size_t i, unsigned) {
      if (tap_ != nullptr) {
        const std::size_t row = static_cast<std::size_t>(k - k_.data()) / kv_width + i;
        tap_->see_query(l, position[i], q_.data() + row * q_width);
        tap_->change(l, position[i], k + i * kv_width, v + i * kv_width);
      }
      part.sequence->store(l, i, 1, k + i * kv_width, v + i * kv_width);
    });
    position += part.tokens.size();
    k += part.tokens.size() * kv_width;
    v += part.tokens.size() * kv_width;
  }
  const bool last = l + 1 == config_.layers;
  const bool all_rows = LayerAttention::needs_all_rows(*batch.front().sequence, l);
  if (last && !all_rows) keep_logit_rows(q_.data());
  for (const ForwardRows& part : batch) CAIRN_TRY_VOID(part.sequence->arrive(l, pool_));
  attend(l, batch);
  if (last && all_rows) keep_logit_rows(attended_.data());
  if (rows_.empty()) return {};
  const auto rows = static_cast<std::uint32_t>(rows_.size());
  const LinearTarget output[] = {{&layer.output, projected_.ensure(std::size_t{rows} * config_.width), config_.width}};
  CAIRN_TRY_VOID(linear_.multiply(attended_.data(), rows, static_cast<std::uint32_t>(q_width), output));
  add_rows(projected_.data());
  return {};
}

// Biases, norms of heads, rotation, and the softmax scale on the queries.
void Forward::rotate(const LayerWeights& layer) {
  const Kernels& kernel = kernels();
  const std::size_t pairs = frequencies_.size(), dim = config_.head_dim;
  const auto turn = config_.rope.pairing == RopePairing::kNeighbours ? kernel.rope_neighbours : kernel.rope_halves;
  const auto prepare = [&](float* x, std::uint32_t heads, std::size_t row, const std::vector<float>& bias,
                           const std::vector<float>& norm) {
    if (!bias.empty()) kernel.add(x, bias.data(), heads * dim);
    for (std::uint32_t h = 0; h < heads; ++h) {
      float* head = x + h * dim;
      if (!norm.empty()) kernel.rms_norm(head, norm.data(), config_.rms_eps, dim, head);
      turn(head, cos_.data() + row * pairs, sin_.data() + row * pairs, pairs);
    }
  };
  pool_.run(rows_.size(), [&](std::size_t r, unsigned) {
    float* q = q_.data() + r * config_.heads * dim;
    float* k = k_.data() + r * config_.kv_heads * dim;
    prepare(q, config_.heads, r, layer.q_bias, layer.q_norm);
    prepare(k, config_.kv_heads, r, layer.k_bias, layer.k_norm);
    if (!layer.v_bias.empty())
      kernel.add(v_.data() + r * config_.kv_heads * dim, layer.v_bias.data(), config_.kv_heads * dim);
    for (std::size_t i = 0; i < config_.heads * dim; ++i) q[i] *= config_.attention_scale;
  });
}

void Forward::attend(std::uint32_t l, std::span<const ForwardRows> batch) {
  const std::size_t q_width = std::size_t{config_.heads} * config_.head_dim;
  float* out = attended_.ensure(rows_.size() * q_width);
  tokens_.resize(rows_.size());
  layer_rows_.clear();
  std::size_t first = 0, end = 0;
  for (const ForwardRows& part : batch) {
    for (first = end; end < rows_.size() && rows_[end].source == &part; ++end) {
      tokens_[end] = part.sequence->size() + rows_[end].offset;
    }
    layer_rows_.push_back({.sequence = part.sequence,
                           .tokens = std::span(tokens_).subspan(first, end - first),
                           .q = q_.data() + first * q_width,
                           .positions = positions_.data() + first,
                           .out = out + first * q_width});
  }
  attention_.attend(l, layer_rows_);
}

// After the last layer's keys and values only rows with logits matter: their residual stream, and `per_head` [rows,
// heads, head_dim].
void Forward::keep_logit_rows(float* per_head) {
  const std::size_t q_width = std::size_t{config_.heads} * config_.head_dim;
  std::size_t kept = 0;
  for (std::size_t r = 0; r < rows_.size(); ++r) {
    if (rows_[r].logits == nullptr) continue;
    rows_[kept] = rows_[r];
    positions_[kept] = positions_[r];
    std::copy_n(per_head + r * q_width, q_width, per_head + kept * q_width);
    std::copy_n(x_.data() + r * config_.width, config_.width, x_.data() + kept * config_.width);
    ++kept;
  }
  rows_.resize(kept);
}

Status Forward::feed_forward(LayerWeights& layer) {
  const auto rows = static_cast<std::uint32_t>(rows_.size());
  const std::size_t ffn = config_.ffn;
  norm_rows(layer.ffn_norm.data());
  const LinearTarget inside[] = {{&layer.gate, gate_.ensure(rows * ffn), ffn},
                                 {&layer.up, up_.ensure(rows * ffn), ffn}};
  CAIRN_TRY_VOID(linear_.multiply(normed_.data(), rows, config_.width, inside));
  pool_.run(rows,
            [&](std::size_t r, unsigned) { kernels().silu_mul(gate_.data() + r * ffn, up_.data() + r * ffn, ffn); });
  const LinearTarget down[] = {{&layer.down, projected_.ensure(std::size_t{rows} * config_.width), config_.width}};
  CAIRN_TRY_VOID(linear_.multiply(gate_.data(), rows, config_.ffn, down));
  add_rows(projected_.data());
  return {};
}

Status Forward::write_logits() {
  norm_rows(weights_.output_norm().data());
  const std::size_t vocab = config_.vocab;
  const LinearTarget target[] = {{&weights_.output(), logits_.ensure(rows_.size() * vocab), vocab}};
  CAIRN_TRY_VOID(linear_.multiply(normed_.data(), static_cast<std::uint32_t>(rows_.size()), config_.width, target));
  for (std::size_t r = 0; r < rows_.size(); ++r) {
    std::copy_n(logits_.data() + r * vocab, vocab, rows_[r].logits);
  }
  return {};
}

}  // namespace cairn
