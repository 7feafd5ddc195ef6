// SPDX-License-Identifier: Apache-2.0
// Rows of queries and weights rounded to words, to the bits of the plain loops in code_rows-inl.h.
#pragma once

#include "cairn/kernels/avx2/quantise-inl.h"
#include "cairn/kernels/code_rows-inl.h"

namespace cairn {
namespace {

// Words with each quad as its values 0, 2, 1, 3: even and odd bytes of codes are what widens cheaply.
struct QueryWords {
  float base;
  float half_scales[kMaxSegments];
  std::int32_t biases[kMaxSegments];
  alignas(32) std::int16_t words[kMaxChannels];
};
struct WeightWords {
  float half_scale;
  float zero_term;
  std::int32_t bias;
  alignas(32) std::int16_t words[kPageTokens];
};

template <std::uint32_t N>
inline float largest_magnitude(const __m256 (&v)[N]) {
  const __m256 magnitude_bits = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  __m256 m = _mm256_setzero_ps();
  // The operand order keeps NaN out of the maximum.
  for (const __m256& x : v) m = _mm256_max_ps(_mm256_and_ps(x, magnitude_bits), m);
  return largest_of(m);
}

// The first `count` vectors; zeros in the rest. Gives the sum.
template <std::uint32_t N>
inline std::int32_t round_to_words(const __m256 (&v)[N], std::uint32_t count, float inverse, float least, float most,
                                   std::int16_t* words) {
  __m256i sum = _mm256_setzero_si256();
  const auto round = [&](std::uint32_t i) {
    if (i >= count) return _mm256_setzero_si256();
    const __m256 x = _mm256_max_ps(_mm256_mul_ps(v[i], _mm256_set1_ps(inverse)), _mm256_set1_ps(least));
    const __m256i code = _mm256_cvtps_epi32(_mm256_min_ps(x, _mm256_set1_ps(most)));
    sum = _mm256_add_epi32(sum, code);
    return code;
  };
  for (std::uint32_t i = 0; i < N; i += 2) {
    const __m256i a = round(i), b = round(i + 1);
    const __m256i quads = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
    const __m256i swapped = _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(quads, 0xd8), 0xd8);
    _mm256_store_si256(reinterpret_cast<__m256i*>(words + i * 8), swapped);
  }
  const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
  const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}

inline void query_words(const CodeKeys& keys, const float* q, QueryWords& to) {
  const std::uint32_t depth = keys.codes.depth;
  to.base = keys.offset != nullptr ? dot_lanes(q, keys.offset, depth) : 0.0f;
  for (std::uint32_t first = 0, s = 0; first < depth; first += kQuerySegment, ++s) {
    const std::uint32_t count = smaller(depth - first, kQuerySegment) / 8;
    __m256 v[4];
    for (std::uint32_t i = 0; i < 4; ++i) {
      v[i] = i < count ? _mm256_loadu_ps(q + first + i * 8) : _mm256_setzero_ps();
      if (i < count && keys.channel_scale != nullptr)
        v[i] = _mm256_mul_ps(v[i], _mm256_loadu_ps(keys.channel_scale + first + i * 8));
    }
    const float largest = largest_magnitude(v);
    const float inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
    const std::int32_t sum = round_to_words(v, count, inverse, -127.0f, 127.0f, to.words + first);
    to.half_scales[s] = 0.5f * (largest / 127.0f);
    to.biases[s] = -keys.twice_middle * sum;
  }
}

inline void weight_words(const CodeValues& values, std::uint32_t group, const float* p, WeightWords& to) {
  const std::uint32_t depth = values.codes.depth;
  const float* scales = values.token_scale + std::size_t{group} * depth;
  const auto load = [&](const float* x, std::uint32_t t) {
    if (t + 8 <= depth) return _mm256_loadu_ps(x + t);
    return t + 4 <= depth ? _mm256_zextps128_ps256(_mm_loadu_ps(x + t)) : _mm256_setzero_ps();
  };
  __m256 v[8];
  for (std::uint32_t i = 0; i < 8; ++i) v[i] = _mm256_mul_ps(load(p, i * 8), load(scales, i * 8));
  const float largest = largest_magnitude(v);
  const float inverse = largest > 0.0f ? kMaxWeight / largest : 0.0f;
  const std::int32_t sum = round_to_words(v, 8, inverse, 0.0f, kMaxWeight, to.words);
  to.half_scale = 0.5f * (largest / kMaxWeight);
  to.bias = -values.twice_middle * sum;
  to.zero_term =
      values.token_offset != nullptr ? dot_lanes(p, values.token_offset + std::size_t{group} * depth, depth) : 0.0f;
}

}  // namespace
}  // namespace cairn
