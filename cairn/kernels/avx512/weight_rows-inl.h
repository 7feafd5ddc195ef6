// SPDX-License-Identifier: Apache-2.0
// Rows of weights rounded to integers, four at once, to the bits of the plain loops in code_rows-inl.h.
#pragma once

#include "cairn/kernels/avx512/fold-inl.h"
#include "cairn/kernels/code_rows-inl.h"

namespace cairn {
namespace {

// Up to four rows for one group of channels, rounded as round_weights does it. The four values of a row are equal.
struct RoundedWeightRows {
  alignas(64) float half_scales[4][4];
  alignas(64) float zero_terms[4][4];
  alignas(64) std::int32_t biases[4][4];
  alignas(64) std::int16_t codes[4][kPageTokens];  // each quad of tokens as 0, 2, 1, 3
};

// The low words of 32 lanes with tokens 1 and 2 of each quad exchanged.
inline __m512i quad_words(__m512i a, __m512i b) {
  alignas(64) static constexpr std::uint16_t kPlaces[32] = {0,  4,  2,  6,  8,  12, 10, 14, 16, 20, 18,
                                                            22, 24, 28, 26, 30, 32, 36, 34, 38, 40, 44,
                                                            42, 46, 48, 52, 50, 54, 56, 60, 58, 62};
  return _mm512_permutex2var_epi16(a, _mm512_load_si512(kPlaces), b);
}

// The definition, for rows that are not ordinary.
[[gnu::noinline]] void round_one_weight_row(const CodeValues& values, std::uint32_t group, const float* p,
                                            std::uint32_t r, RoundedWeightRows& to) {
  RoundedWeights weights;
  round_weights(values, group, p, weights);
  to.half_scales[r][0] = weights.half_scale;
  to.biases[r][0] = weights.bias;
  for (std::uint32_t t = 0; t < kPageTokens; ++t)
    to.codes[r][t] = weights.codes[t / 4 * 4 + (t % 4 == 1 ? 2 : t % 4 == 2 ? 1 : t % 4)];
}

template <std::uint32_t R>
inline void round_weight_rows(const CodeValues& values, const float* p, std::uint32_t group, RoundedWeightRows& to) {
  const std::uint32_t depth = values.codes.depth;
  const float* scales = values.token_scale + std::size_t{group} * depth;
  const __m512i zero = _mm512_setzero_si512();
  __mmask16 lanes[4];
  __m512 folded[R][4];
#pragma GCC unroll 4
  for (std::uint32_t i = 0; i < 4; ++i) {
    lanes[i] = static_cast<__mmask16>(first_bits(depth) >> (i * 16));
    const __m512 scale = _mm512_maskz_loadu_ps(lanes[i], scales + i * 16);
#pragma GCC unroll 4
    for (std::uint32_t r = 0; r < R; ++r) {
      folded[r][i] = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes[i], p + r * kPageTokens + i * 16), scale);
    }
  }
  __m512i rows[4] = {zero, zero, zero, zero};
#pragma GCC unroll 4
  for (std::uint32_t r = 0; r < R; ++r) {
    const auto bits = [&](int i) { return _mm512_castps_si512(folded[r][i]); };
    rows[r] = _mm512_max_epi32(_mm512_max_epi32(bits(0), bits(1)), _mm512_max_epi32(bits(2), bits(3)));
  }
  // As integers, -0 would be the smallest of all.
  const __m512i bits = _mm512_max_epi32(fold_pairs<MaxWords>(fold_halves<MaxWords>(fold_rows<MaxWords>(rows))), zero);
  const __m512 largest = _mm512_castsi512_ps(bits), most = _mm512_set1_ps(kMaxWeight);
  const __m512 inverses = _mm512_maskz_div_ps(_mm512_test_epi32_mask(bits, bits), most, largest);
  _mm512_store_ps(&to.half_scales[0][0], _mm512_mul_ps(_mm512_set1_ps(0.5f), _mm512_div_ps(largest, most)));
#pragma GCC unroll 4
  for (std::uint32_t r = 0; r < R; ++r) {
    const __m512 inverse = every_quad(inverses, r);
    const auto round = [&](int i) { return _mm512_cvtps_epi32(_mm512_mul_ps(folded[r][i], inverse)); };
    const __m512i a = round(0), b = round(1), c = round(2), d = round(3);
    _mm512_store_si512(to.codes[r], quad_words(a, b));
    _mm512_store_si512(to.codes[r] + 32, quad_words(c, d));
    rows[r] = _mm512_add_epi32(_mm512_add_epi32(a, b), _mm512_add_epi32(c, d));
  }
  __m512i bias = zero;
  if (values.twice_middle != 0) {
    const __m512i sums = fold_pairs<AddWords>(fold_halves<AddWords>(fold_rows<AddWords>(rows)));
    bias = _mm512_mullo_epi32(sums, _mm512_set1_epi32(-values.twice_middle));
  }
  _mm512_store_si512(&to.biases[0][0], bias);
  if (!ordinary(bits)) {
    for (std::uint32_t r = 0; r < R; ++r) round_one_weight_row(values, group, p + r * kPageTokens, r, to);
  }
  if (values.token_offset == nullptr) {
    _mm512_store_si512(&to.zero_terms[0][0], zero);
    return;
  }
  const float* offsets = values.token_offset + std::size_t{group} * depth;
#pragma GCC unroll 4
  for (std::uint32_t r = 0; r < R; ++r) {
    __m512 term = _mm512_setzero_ps();
#pragma GCC unroll 4
    for (std::uint32_t i = 0; i < 4; ++i) {
      term = _mm512_mask3_fmadd_ps(_mm512_maskz_loadu_ps(lanes[i], p + r * kPageTokens + i * 16),
                                   _mm512_maskz_loadu_ps(lanes[i], offsets + i * 16), term, lanes[i]);
    }
    rows[r] = _mm512_castps_si512(term);
  }
  _mm512_store_si512(&to.zero_terms[0][0], fold_pairs<AddFloats>(fold_halves<AddFloats>(fold_rows<AddFloats>(rows))));
}

}  // namespace
}  // namespace cairn
