// SPDX-License-Identifier: Apache-2.0
// The online softmax step, 16 tokens at a time.
#pragma once

#include <immintrin.h>

#include "cairn/kernels/elementwise-inl.h"

namespace cairn {
namespace {

// exp_lane of elementwise-inl.h, 16 at a time.
inline __m512 exp16(__m512 x) {
  const __m512 round = _mm512_set1_ps(12582912.0f);
  const __m512 lowest = _mm512_set1_ps(-87.0f);
  const __mmask16 tiny = _mm512_cmp_ps_mask(x, lowest, _CMP_LT_OQ);
  const __m512 clamped = _mm512_min_ps(_mm512_set1_ps(88.0f), _mm512_max_ps(lowest, x));
  const __m512 shifted = _mm512_fmadd_ps(clamped, _mm512_set1_ps(1.44269504088896341f), round);
  const __m512 n = _mm512_sub_ps(shifted, round);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), clamped);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
  __m512 p = _mm512_set1_ps(1.9875691500e-4f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3981999507e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1f));
  p = _mm512_add_ps(_mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r), _mm512_set1_ps(1.0f));
  const __m512i exponent = _mm512_sub_epi32(_mm512_castps_si512(shifted), _mm512_castps_si512(round));
  const __m512i scale = _mm512_slli_epi32(_mm512_add_epi32(exponent, _mm512_set1_epi32(127)), 23);
  return _mm512_maskz_mul_ps(static_cast<__mmask16>(~tiny), p, _mm512_castsi512_ps(scale));
}

void softmax_block16(float* s, const std::uint64_t* masks, std::uint32_t rows, float* max, float* sum,
                     float* correction) {
  const __m512 nothing = _mm512_set1_ps(-__builtin_inff());
  for (std::uint32_t r = 0; r < rows; ++r) {
    float* row = s + r * kPageTokens;
    __m512 v[4];
    __m512 largest = _mm512_set1_ps(max[r]);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      v[i] = _mm512_mask_loadu_ps(nothing, static_cast<__mmask16>(masks[r] >> (i * 16)), row + i * 16);
      largest = _mm512_max_ps(v[i], largest);
    }
    const float top = _mm512_reduce_max_ps(largest);
    const float base = top == -__builtin_inff() ? 0.0f : top;
    alignas(64) float lanes[kSumLanes];
    __m512 total = _mm512_setzero_ps();
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      v[i] = exp16(_mm512_sub_ps(v[i], _mm512_set1_ps(base)));
      _mm512_storeu_ps(row + i * 16, v[i]);
      total = _mm512_add_ps(total, v[i]);
    }
    _mm512_store_ps(lanes, total);
    correction[r] = exp_lane(max[r] - base);
    sum[r] = fused(sum[r], correction[r], sum_lanes(lanes));
    max[r] = top;
  }
}

}  // namespace
}  // namespace cairn
