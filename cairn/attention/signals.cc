// SPDX-License-Identifier: Apache-2.0
#include "cairn/attention/signals.h"

#include <cstring>

#include "cairn/codec/codec.h"
#include "cairn/kernels/kernels.h"

namespace cairn {

void attention_weights(const AttendRows& rows, const PageView& page, const AttendLayer& layer, std::uint32_t kv_head,
                       float* weights) {
  const std::uint32_t heads = layer.heads, group = heads / layer.shape.kv_heads, dim = layer.shape.head_dim;
  const std::uint32_t count = rows.rows * group;
  std::vector<float> q(std::size_t{count} * dim), max(count), sum(count), correction(count);
  std::vector<std::uint64_t> masks(count);
  for (std::uint32_t r = 0; r < rows.rows; ++r) {
    const std::size_t first = std::size_t{r} * heads + kv_head * group;
    std::memcpy(q.data() + std::size_t{r} * group * dim, rows.q + first * dim,
                std::size_t{group} * dim * sizeof(float));
    for (std::uint32_t g = 0; g < group; ++g) {
      max[r * group + g] = rows.softmax[(first + g) * 2];
      masks[r * group + g] = visible_slots(page, rows.positions[r], layer.window, kv_head);
    }
  }
  layer.basis.keys.turn_queries(kv_head, q);
  page.key_format->codec->scores(*page.key_format, page.keys, kv_head, q.data(), count, kAllBoxes, {}, weights);
  if (layer.score_cap != 0.0f) kernels().soft_cap(weights, std::size_t{count} * kBlockTokens, layer.score_cap);
  // The greatest score is in `max` already, so that this step only takes the exponentials.
  kernels().softmax_block(weights, masks.data(), count, max.data(), sum.data(), correction.data());
  for (std::uint32_t r = 0; r < count; ++r) {
    const float total = rows.softmax[((std::size_t{r} / group) * heads + kv_head * group + r % group) * 2 + 1];
    float* row = weights + std::size_t{r} * kBlockTokens;
    for (std::uint32_t t = 0; t < kBlockTokens; ++t) row[t] /= total;
  }
}

void AttentionMass::add(const AttendRows& rows, const PageView& page, const AttendLayer& layer, ThreadPool& pool) {
  const std::size_t count = std::size_t{rows.rows} * (layer.heads / layer.shape.kv_heads);
  pool.run(layer.shape.kv_heads, [&](std::size_t h, unsigned) {
    std::vector<float> weights(count * kBlockTokens);
    attention_weights(rows, page, layer, static_cast<std::uint32_t>(h), weights.data());
    float* into = sums_.data() + h * kBlockTokens;
    for (std::size_t i = 0; i < weights.size(); ++i) into[i % kBlockTokens] += weights[i];
  });
}

std::vector<float> AttentionMass::means(std::uint32_t kv_heads) const {
  std::vector<float> means = sums_;
  means.resize(std::size_t{kv_heads} * kBlockTokens);
  for (std::size_t i = 0; i < means.size(); ++i) {
    float& mass = means[i];
    const std::size_t t = i % kBlockTokens;
    mass = mass >= 0.0f ? mass / static_cast<float>(kBlockTokens - t + later_probes_) : 0.0f;
  }
  return means;
}

}  // namespace cairn
