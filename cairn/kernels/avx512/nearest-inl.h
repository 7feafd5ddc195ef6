// SPDX-License-Identifier: Apache-2.0
// The nearest of some centroids: 16 levels are a register, so their bounds are searched by permutation.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "cairn/kernels/avx512/code_scores-inl.h"

namespace cairn {
namespace {

// Lanes [0, count) of sixteen.
inline __mmask16 first_lanes(std::uint32_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xffffu : (1u << count) - 1);
}

// How many of 15 ascending bounds lie below each value.
inline __m512i count_below(__m512 bounds, __m512 values) {
  __m512i count = _mm512_setzero_si512();
#pragma GCC unroll 4
  for (int step = 8; step > 0; step /= 2) {
    const __m512 bound = _mm512_permutexvar_ps(_mm512_add_epi32(count, _mm512_set1_epi32(step - 1)), bounds);
    const __mmask16 above = _mm512_cmp_ps_mask(bound, values, _CMP_LT_OQ);
    count = _mm512_mask_add_epi32(count, above, count, _mm512_set1_epi32(step));
  }
  return count;
}

void quantise_levels(const float* x, std::uint32_t rows, std::uint32_t cols, const float* bounds, const float* inverse,
                     std::uint8_t* codes) {
  for (std::uint32_t r = 0; r < rows; ++r) {
    const __m512 bound = _mm512_maskz_loadu_ps(first_lanes(15), bounds + std::size_t{r} * 15);
    for (std::uint32_t c = 0; c < cols; c += 16) {
      const __mmask16 lanes = first_lanes(cols - c);
      const std::size_t at = std::size_t{r} * cols + c;
      const __m512 units =
          _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, x + at), _mm512_maskz_loadu_ps(lanes, inverse + c));
      _mm512_mask_cvtepi32_storeu_epi8(codes + at, lanes, count_below(bound, units));
    }
  }
}

// B times 16 columns from `first` on.
template <std::uint32_t B>
void level_error_columns(const float* x, std::uint32_t rows, std::uint32_t cols, std::uint32_t first,
                         const float* bounds, const float* levels, const float* inverse, const float* scale,
                         float* error) {
  __mmask16 lanes[B];
  __m512 inverses[B], scales[B], errors[B];
#pragma GCC unroll 4
  for (std::uint32_t b = 0; b < B; ++b) {
    const std::uint32_t c = first + b * 16;
    lanes[b] = first_lanes(cols - c);
    inverses[b] = _mm512_maskz_loadu_ps(lanes[b], inverse + c);
    scales[b] = _mm512_maskz_loadu_ps(lanes[b], scale + c);
    errors[b] = _mm512_setzero_ps();
  }
  for (std::uint32_t r = 0; r < rows; ++r) {
    const __m512 bound = _mm512_maskz_loadu_ps(first_lanes(15), bounds + std::size_t{r} * 15);
    const __m512 level = _mm512_loadu_ps(levels + std::size_t{r} * 16);
#pragma GCC unroll 4
    for (std::uint32_t b = 0; b < B; ++b) {
      const __m512 values = _mm512_maskz_loadu_ps(lanes[b], x + std::size_t{r} * cols + first + b * 16);
      const __m512i code = count_below(bound, _mm512_mul_ps(values, inverses[b]));
      const __m512 distance = _mm512_fnmadd_ps(scales[b], _mm512_permutexvar_ps(code, level), values);
      errors[b] = _mm512_fmadd_ps(distance, distance, errors[b]);
    }
  }
#pragma GCC unroll 4
  for (std::uint32_t b = 0; b < B; ++b) _mm512_mask_storeu_ps(error + first + b * 16, lanes[b], errors[b]);
}

void level_error(const float* x, std::uint32_t rows, std::uint32_t cols, const float* bounds, const float* levels,
                 const float* inverse, const float* scale, float* error) {
  std::uint32_t c = 0;
  for (; c + 64 <= cols; c += 64) level_error_columns<4>(x, rows, cols, c, bounds, levels, inverse, scale, error);
  for (; c < cols; c += 16) level_error_columns<1>(x, rows, cols, c, bounds, levels, inverse, scale, error);
}

template <std::uint32_t B>
void nearest_points_columns(const float* x, const float* y, std::uint32_t cols, std::uint32_t first,
                            const float* points, std::uint32_t count, std::uint8_t* nearest, float* distance) {
  __mmask16 lanes[B];
  __m512 a[B], b[B], least[B];
  __m512i best[B];
#pragma GCC unroll 4
  for (std::uint32_t i = 0; i < B; ++i) {
    lanes[i] = first_lanes(cols - first - i * 16);
    a[i] = _mm512_maskz_loadu_ps(lanes[i], x + first + i * 16);
    b[i] = _mm512_maskz_loadu_ps(lanes[i], y + first + i * 16);
    least[i] = _mm512_set1_ps(__builtin_inff());
    best[i] = _mm512_setzero_si512();
  }
  for (std::uint32_t k = 0; k < count; ++k) {
    const __m512 px = _mm512_set1_ps(points[2 * k]), py = _mm512_set1_ps(points[2 * k + 1]);
    const __m512i number = _mm512_set1_epi32(static_cast<int>(k));
#pragma GCC unroll 4
    for (std::uint32_t i = 0; i < B; ++i) {
      const __m512 dx = _mm512_sub_ps(a[i], px), dy = _mm512_sub_ps(b[i], py);
      const __m512 far = _mm512_fmadd_ps(dx, dx, _mm512_mul_ps(dy, dy));
      const __mmask16 nearer = _mm512_cmp_ps_mask(far, least[i], _CMP_LT_OQ);
      least[i] = _mm512_mask_mov_ps(least[i], nearer, far);
      best[i] = _mm512_mask_mov_epi32(best[i], nearer, number);
    }
  }
#pragma GCC unroll 4
  for (std::uint32_t i = 0; i < B; ++i) {
    _mm512_mask_cvtepi32_storeu_epi8(nearest + first + i * 16, lanes[i], best[i]);
    _mm512_mask_storeu_ps(distance + first + i * 16, lanes[i], least[i]);
  }
}

void nearest_points(const float* x, const float* y, std::uint32_t cols, const float* points, std::uint32_t count,
                    std::uint8_t* nearest, float* distance) {
  std::uint32_t c = 0;
  for (; c + 64 <= cols; c += 64) nearest_points_columns<4>(x, y, cols, c, points, count, nearest, distance);
  for (; c < cols; c += 16) nearest_points_columns<1>(x, y, cols, c, points, count, nearest, distance);
}

// All tokens of a page at once, for W channels to a code.
template <std::uint32_t W>
void nearest_codes_of(const float* x, std::size_t x_stride, const float* points, std::uint8_t* nearest, float* distance,
                      float* energy) {
  constexpr std::uint32_t kPoints = 16, kVectors = kPageTokens / 16;
  float lengths[kPoints] = {};
  for (std::uint32_t p = 0; p < kPoints; ++p) {
    for (std::uint32_t d = 0; d < W; ++d) lengths[p] = fused(points[p * W + d], points[p * W + d], lengths[p]);
  }
  __m512 least[kVectors], length[kVectors];
  __m512i best[kVectors];
#pragma GCC unroll 4
  for (std::uint32_t i = 0; i < kVectors; ++i) {
    least[i] = _mm512_set1_ps(__builtin_inff());
    length[i] = _mm512_set1_ps(lengths[0]);
    best[i] = _mm512_setzero_si512();
  }
#pragma GCC unroll 1
  for (std::uint32_t p = 0; p < kPoints; ++p) {
    __m512 sum[kVectors];
#pragma GCC unroll 8
    for (std::uint32_t d = 0; d < W; ++d) {
      const __m512 point = _mm512_set1_ps(points[p * W + d]);
#pragma GCC unroll 4
      for (std::uint32_t i = 0; i < kVectors; ++i) {
        const __m512 apart = _mm512_sub_ps(_mm512_loadu_ps(x + d * x_stride + i * 16), point);
        sum[i] = _mm512_fmadd_ps(apart, apart, d == 0 ? _mm512_setzero_ps() : sum[i]);
      }
    }
    const __m512i number = _mm512_set1_epi32(static_cast<int>(p));
    const __m512 own = _mm512_set1_ps(lengths[p]);
#pragma GCC unroll 4
    for (std::uint32_t i = 0; i < kVectors; ++i) {
      const __mmask16 nearer = _mm512_cmp_ps_mask(sum[i], least[i], _CMP_LT_OQ);
      least[i] = _mm512_mask_mov_ps(least[i], nearer, sum[i]);
      length[i] = _mm512_mask_mov_ps(length[i], nearer, own);
      best[i] = _mm512_mask_mov_epi32(best[i], nearer, number);
    }
  }
#pragma GCC unroll 4
  for (std::uint32_t i = 0; i < kVectors; ++i) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(nearest + i * 16), _mm512_cvtepi32_epi8(best[i]));
    _mm512_storeu_ps(distance + i * 16, _mm512_add_ps(_mm512_loadu_ps(distance + i * 16), least[i]));
    _mm512_storeu_ps(energy + i * 16, _mm512_add_ps(_mm512_loadu_ps(energy + i * 16), length[i]));
  }
}

void nearest_codes(const float* x, std::size_t x_stride, std::uint32_t width, const float* points,
                   std::uint8_t* nearest, float* distance, float* energy) {
  switch (width) {
    case 1: return nearest_codes_of<1>(x, x_stride, points, nearest, distance, energy);
    case 2: return nearest_codes_of<2>(x, x_stride, points, nearest, distance, energy);
    case 4: return nearest_codes_of<4>(x, x_stride, points, nearest, distance, energy);
    default: return nearest_codes_of<8>(x, x_stride, points, nearest, distance, energy);
  }
}

}  // namespace
}  // namespace cairn
