// SPDX-License-Identifier: Apache-2.0
// The definition of how a row of queries or weights is folded with scales and rounded before it meets codes. Plain
// loops, 16 lanes wide where a sum or a maximum would otherwise not be vectorised.
#pragma once

#include "cairn/kernels/codes.h"
#include "cairn/kernels/elementwise-inl.h"

namespace cairn {
namespace {

inline constexpr std::uint32_t kMaxSegments = kMaxChannels / kQuerySegment;

// Weights are rounded to 15 bits: 127 * 256 + 127, so that they are two signed bytes as well as one signed word.
inline constexpr float kMaxWeight = 32639.0f;

// One query row as code_scores needs it: q'[d] = code * 2 * half_scale of its segment.
struct RoundedQuery {
  float base;  // of the offsets
  float half_scales[kMaxSegments];
  std::int32_t biases[kMaxSegments];            // -twice_middle * sum of the segment's codes
  alignas(64) std::int8_t codes[kMaxChannels];  // zero from depth up to the next multiple of kQuerySegment
};

// One row of weights for one group of channels as code_accumulate needs it.
struct RoundedWeights {
  float half_scale;
  float zero_term;                              // of the offsets
  std::int32_t bias;                            // -twice_middle * sum of codes
  alignas(64) std::int16_t codes[kPageTokens];  // zero from depth on
};

// Of 32 values or 64. Not-a-number is never the largest.
template <std::uint32_t Count>
inline float largest_magnitude(const float (&x)[Count]) {
  float lanes[kSumLanes] = {};
  for (std::uint32_t i = 0; i < Count; i += kSumLanes) {
    for (std::uint32_t l = 0; l < kSumLanes; ++l) {
      const float value = __builtin_fabsf(x[i + l]);
      lanes[l] = value > lanes[l] ? value : lanes[l];
    }
  }
  for (std::uint32_t half = kSumLanes / 2; half > 0; half /= 2) {
    for (std::uint32_t l = 0; l < half; ++l) lanes[l] = lanes[l + half] > lanes[l] ? lanes[l + half] : lanes[l];
  }
  return lanes[0];
}

// The first `count` values times `inverse`, at most `max_value`, at least `least`, which not-a-number becomes too,
// and their sum; zeros in the rest.
template <std::uint32_t Count, class Code>
inline std::int32_t round_values(const float (&x)[Count], std::uint32_t count, float inverse, float least,
                                 float max_value, Code* to) {
  std::int32_t codes[Count];
  for (std::uint32_t i = 0; i < Count; ++i) {
    float value = x[i] * inverse;
    value = value > least ? value : least;
    value = value < max_value ? value : max_value;
    codes[i] = static_cast<std::int32_t>(__builtin_nearbyintf(value));
  }
  for (std::uint32_t i = count; i < Count; ++i) codes[i] = 0;
  std::int32_t sum = 0;
  for (std::uint32_t i = 0; i < Count; ++i) sum += codes[i];
  for (std::uint32_t i = 0; i < Count; ++i) to[i] = static_cast<Code>(codes[i]);
  return sum;
}

inline float dot_lanes(const float* a, const float* b, std::uint32_t count) {
  float lanes[kSumLanes] = {};
  std::uint32_t i = 0;
  for (; i + kSumLanes <= count; i += kSumLanes) {
    for (std::uint32_t l = 0; l < kSumLanes; ++l) lanes[l] = fused(a[i + l], b[i + l], lanes[l]);
  }
  for (std::uint32_t l = 0; i + l < count; ++l) lanes[l] = fused(a[i + l], b[i + l], lanes[l]);
  return sum_lanes(lanes);
}

inline void round_query(const CodeKeys& keys, const float* q, RoundedQuery& to) {
  const std::uint32_t depth = keys.codes.depth;
  to.base = keys.offset != nullptr ? dot_lanes(q, keys.offset, depth) : 0.0f;
  for (std::uint32_t first = 0; first < depth; first += kQuerySegment) {
    const std::uint32_t count = depth - first < kQuerySegment ? depth - first : kQuerySegment;
    float folded[kQuerySegment] = {};
    for (std::uint32_t i = 0; i < count; ++i) {
      folded[i] = keys.channel_scale != nullptr ? q[first + i] * keys.channel_scale[first + i] : q[first + i];
    }
    const float largest = largest_magnitude(folded);
    const float inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
    const std::int32_t sum = round_values(folded, count, inverse, -127.0f, 127.0f, to.codes + first);
    to.half_scales[first / kQuerySegment] = 0.5f * (largest / 127.0f);
    to.biases[first / kQuerySegment] = -keys.twice_middle * sum;
  }
}

inline void round_weights(const CodeValues& values, std::uint32_t group, const float* p, RoundedWeights& to) {
  const std::uint32_t depth = values.codes.depth;
  const std::size_t at = std::size_t{group} * depth;
  to.zero_term = values.token_offset != nullptr ? dot_lanes(p, values.token_offset + at, depth) : 0.0f;
  float folded[kPageTokens] = {};
  for (std::uint32_t t = 0; t < depth; ++t) folded[t] = p[t] * values.token_scale[at + t];
  const float largest = largest_magnitude(folded);
  const float inverse = largest > 0.0f ? kMaxWeight / largest : 0.0f;
  const std::int32_t sum = round_values(folded, depth, inverse, 0.0f, kMaxWeight, to.codes);
  to.half_scale = 0.5f * (largest / kMaxWeight);
  to.bias = -values.twice_middle * sum;
}

}  // namespace
}  // namespace cairn
