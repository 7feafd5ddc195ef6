// SPDX-License-Identifier: Apache-2.0
#include "cairn/attention/signals.h"

#include <cstring>

#include "cairn/codec/codec.h"
#include "cairn/kernels/kernels.h"

namespace cairn {

void AttentionMass::add(const AttendRows& rows, const PageView& page, const AttendLayer& layer, ThreadPool& pool) {
  const std::uint32_t heads = layer.heads, group = heads / layer.shape.kv_heads, dim = layer.shape.head_dim;
  const std::uint32_t count = rows.rows * group;
  pool.run(layer.shape.kv_heads, [&](std::size_t h, unsigned) {
    std::vector<float> q(std::size_t{count} * dim), weights(std::size_t{count} * kBlockTokens);
    std::vector<float> max(count), sum(count), correction(count);
    std::vector<std::uint64_t> masks(count);
    for (std::uint32_t r = 0; r < rows.rows; ++r) {
      const std::size_t first = std::size_t{r} * heads + h * group;
      std::memcpy(q.data() + std::size_t{r} * group * dim, rows.q + first * dim,
                  std::size_t{group} * dim * sizeof(float));
      for (std::uint32_t g = 0; g < group; ++g) {
        max[r * group + g] = rows.softmax[(first + g) * 2];
        masks[r * group + g] = visible_slots(page, rows.positions[r], layer.window);
      }
    }
    if (layer.basis.hadamard_keys) hadamard_heads(q, dim);
    page.key_format->codec->scores(*page.key_format, page.keys, static_cast<std::uint32_t>(h), q.data(), count, {},
                                   weights.data());
    if (layer.score_cap != 0.0f) kernels().soft_cap(weights.data(), weights.size(), layer.score_cap);
    // The greatest score is in `max` already, so that this step only takes the exponentials.
    kernels().softmax_block(weights.data(), masks.data(), count, max.data(), sum.data(), correction.data());
    float* into = sums_.data() + h * kBlockTokens;
    for (std::uint32_t r = 0; r < count; ++r) {
      const std::size_t first = (std::size_t{r} / group) * heads + h * group + r % group;
      const float total = rows.softmax[first * 2 + 1];
      const float* row = weights.data() + std::size_t{r} * kBlockTokens;
      for (std::uint32_t t = 0; t < kBlockTokens; ++t) into[t] += row[t] / total;
    }
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
