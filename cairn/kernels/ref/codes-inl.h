// SPDX-License-Identifier: Apache-2.0
// The definition of scores and weighted values over integer codes.
#pragma once

#include "cairn/kernels/code_rows-inl.h"

namespace cairn {
namespace {

inline std::int32_t code_at(const CodeMatrix& m, std::uint32_t lane, std::uint32_t depth) {
  const std::uint32_t per_vector = 32 / m.bits;
  const std::size_t vectors = (m.depth + per_vector - 1) / per_vector;
  const std::uint8_t* vector = m.codes + (lane / kCodeLanes * vectors + depth / per_vector) * 64;
  const std::uint32_t within = depth % per_vector;
  const std::uint32_t byte = vector[lane % kCodeLanes * kCodeQuad + within % kCodeQuad];
  return static_cast<std::int32_t>((byte >> (within / kCodeQuad * m.bits)) & ((1u << m.bits) - 1));
}

inline std::int32_t level_at(const CodeMatrix& m, std::uint32_t channel, std::int32_t code) {
  return m.levels != nullptr ? m.levels[channel * 16 + static_cast<std::uint32_t>(code)] : code;
}

void code_scores(const CodeKeys& keys, const float* q, std::uint32_t rows, PrefetchHint, float* out) {
  const CodeMatrix& m = keys.codes;
  RoundedQuery query;
  for (std::uint32_t r = 0; r < rows; ++r) {
    round_query(keys, q + std::size_t{r} * m.depth, query);
    for (std::uint32_t t = 0; t < m.lanes; ++t) {
      float total = query.base;
      for (std::uint32_t s = 0; s * kQuerySegment < m.depth; ++s) {
        std::int32_t dot = 0;
        for (std::uint32_t d = s * kQuerySegment; d < m.depth && d < (s + 1) * kQuerySegment; ++d)
          dot += level_at(m, d, code_at(m, t, d)) * query.codes[d];
        const float x = static_cast<float>(2 * dot + query.biases[s]) * query.half_scales[s];
        total = keys.token_scale != nullptr
                    ? fused(x, keys.token_scale[std::size_t{s} * keys.token_scale_stride + t], total)
                    : total + x;
      }
      out[r * kPageTokens + t] = total;
    }
  }
}

void code_accumulate(const CodeValues& values, const float* p, const float* correction, std::uint32_t rows,
                     PrefetchHint, float* acc) {
  const CodeMatrix& m = values.codes;
  for (std::uint32_t r = 0; r < rows; ++r) {
    for (std::uint32_t group = 0; group * values.group < m.lanes; ++group) {
      RoundedWeights weights;
      round_weights(values, group, p + r * kPageTokens, weights);
      for (std::uint32_t d = group * values.group; d < m.lanes && d < (group + 1) * values.group; ++d) {
        std::int32_t dot = 0;
        for (std::uint32_t t = 0; t < m.depth; ++t) dot += level_at(m, d, code_at(m, d, t)) * weights.codes[t];
        float x = fused(static_cast<float>(2 * dot + weights.bias), weights.half_scale, weights.zero_term);
        if (values.channel_scale != nullptr) x *= values.channel_scale[d];
        float& sum = acc[std::size_t{r} * m.lanes + d];
        sum = fused(sum, correction[r], x);
      }
    }
  }
}

}  // namespace
}  // namespace cairn
