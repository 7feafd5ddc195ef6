// SPDX-License-Identifier: Apache-2.0
// Scores and weighted values over raw pages, four query rows at a time so that a page is converted once for them.
#pragma once

#include <immintrin.h>

#include "cairn/kernels/prefetch-inl.h"
#include "cairn/kernels/rows-inl.h"

namespace cairn {
namespace {

inline __m512 load16(const F16*, const std::uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline __m512 load16(const BF16*, const std::uint16_t* p) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
inline __m512 load16(const F32*, const float* p) {
  return _mm512_loadu_ps(p);
}

// The first 8 of 16 lanes, the rest zero.
inline __m512 load8(const F16*, const std::uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
inline __m512 load8(const BF16*, const std::uint16_t* p) {
  const __m256i wide =
      _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), 16);
  return _mm512_castps256_ps512(_mm256_castsi256_ps(wide));
}
inline __m512 load8(const F32*, const float* p) {
  return _mm512_castps256_ps512(_mm256_loadu_ps(p));
}

template <class E, std::uint32_t R>
void scores_rows(const typename E::Type* k, std::uint32_t head_dim, const float* q, Prefetcher& next, float* out) {
  __m512 sums[R][4];
#pragma GCC unroll 4
  for (std::uint32_t r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) sums[r][v] = _mm512_setzero_ps();
  }
  for (std::uint32_t d = 0; d < head_dim; ++d) {
    next.step();
    __m512 keys[4];
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) keys[v] = load16(static_cast<const E*>(nullptr), k + d * kPageTokens + v * 16);
#pragma GCC unroll 4
    for (std::uint32_t r = 0; r < R; ++r) {
      const __m512 query = _mm512_set1_ps(q[r * head_dim + d]);
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) sums[r][v] = _mm512_fmadd_ps(keys[v], query, sums[r][v]);
    }
  }
#pragma GCC unroll 4
  for (std::uint32_t r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) _mm512_storeu_ps(out + r * kPageTokens + v * 16, sums[r][v]);
  }
}

template <class E>
void scores(const void* keys, std::uint32_t head_dim, const float* q, std::uint32_t rows, PrefetchHint next,
            float* out) {
  const auto* k = static_cast<const typename E::Type*>(keys);
  Prefetcher prefetcher(next, head_dim);
  std::uint32_t r = 0;
  for (; r + 4 <= rows; r += 4) scores_rows<E, 4>(k, head_dim, q + r * head_dim, prefetcher, out + r * kPageTokens);
  switch (rows - r) {
    case 3: return scores_rows<E, 3>(k, head_dim, q + r * head_dim, prefetcher, out + r * kPageTokens);
    case 2: return scores_rows<E, 2>(k, head_dim, q + r * head_dim, prefetcher, out + r * kPageTokens);
    case 1: return scores_rows<E, 1>(k, head_dim, q + r * head_dim, prefetcher, out + r * kPageTokens);
    default: return;
  }
}

// V vectors of 16 channels (or one of 8 when Half) for R rows.
template <class E, std::uint32_t R, std::uint32_t V, bool Half>
void accumulate_rows(const typename E::Type* values, std::uint32_t head_dim, const float* p, const float* correction,
                     std::uint32_t count, Prefetcher& next, float* acc) {
  constexpr const E* kTag = nullptr;
  const __mmask16 lanes = Half ? 0x00ff : 0xffff;
  __m512 sums[R][V];
#pragma GCC unroll 4
  for (std::uint32_t r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (std::uint32_t v = 0; v < V; ++v) {
      sums[r][v] =
          _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, acc + r * head_dim + v * 16), _mm512_set1_ps(correction[r]));
    }
  }
  for (std::uint32_t t = 0; t < count; ++t) {
    next.step();
    __m512 channels[V];
#pragma GCC unroll 4
    for (std::uint32_t v = 0; v < V; ++v) {
      channels[v] = Half ? load8(kTag, values + t * head_dim) : load16(kTag, values + t * head_dim + v * 16);
    }
#pragma GCC unroll 4
    for (std::uint32_t r = 0; r < R; ++r) {
      const __m512 weight = _mm512_set1_ps(p[r * kPageTokens + t]);
#pragma GCC unroll 4
      for (std::uint32_t v = 0; v < V; ++v) sums[r][v] = _mm512_fmadd_ps(channels[v], weight, sums[r][v]);
    }
  }
#pragma GCC unroll 4
  for (std::uint32_t r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (std::uint32_t v = 0; v < V; ++v) _mm512_mask_storeu_ps(acc + r * head_dim + v * 16, lanes, sums[r][v]);
  }
}

template <class E, std::uint32_t R>
void accumulate_channels(const typename E::Type* values, std::uint32_t head_dim, const float* p,
                         const float* correction, std::uint32_t count, Prefetcher& next, float* acc) {
  std::uint32_t d = 0;
  for (; d + 64 <= head_dim; d += 64) {
    accumulate_rows<E, R, 4, false>(values + d, head_dim, p, correction, count, next, acc + d);
  }
  for (; d + 16 <= head_dim; d += 16) {
    accumulate_rows<E, R, 1, false>(values + d, head_dim, p, correction, count, next, acc + d);
  }
  if (d < head_dim) accumulate_rows<E, R, 1, true>(values + d, head_dim, p, correction, count, next, acc + d);
}

template <class E>
void accumulate(const void* values, std::uint32_t head_dim, const float* p, const float* correction, std::uint32_t rows,
                std::uint32_t count, PrefetchHint next, float* acc) {
  Prefetcher prefetcher(next, count * ((head_dim + 63) / 64));
  const auto* v = static_cast<const typename E::Type*>(values);
  std::uint32_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    accumulate_channels<E, 4>(v, head_dim, p + r * kPageTokens, correction + r, count, prefetcher, acc + r * head_dim);
  }
  for (; r < rows; ++r) {
    accumulate_channels<E, 1>(v, head_dim, p + r * kPageTokens, correction + r, count, prefetcher, acc + r * head_dim);
  }
}

}  // namespace
}  // namespace cairn
