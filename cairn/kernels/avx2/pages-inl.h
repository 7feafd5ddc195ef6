// SPDX-License-Identifier: Apache-2.0
// Scores and weighted values over raw pages, two query rows at a time.
#pragma once

#include <immintrin.h>

#include "cairn/kernels/elementwise-inl.h"
#include "cairn/kernels/prefetch-inl.h"

namespace cairn {
namespace {

inline __m256 load8(const F16*, const std::uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline __m256 load8(const BF16*, const std::uint16_t* p) {
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
inline __m256 load8(const F32*, const float* p) {
  return _mm256_loadu_ps(p);
}

// V vectors, 4 of half a page or 2 of a box, for R rows.
template <class E, std::uint32_t R, int V>
void scores_vectors(const typename E::Type* k, std::uint32_t head_dim, const float* q, Prefetcher& next, float* out) {
  __m256 sums[R][V];
  for (std::uint32_t r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) sums[r][v] = _mm256_setzero_ps();
  }
  for (std::uint32_t d = 0; d < head_dim; ++d) {
    next.step();
    for (int v = 0; v < V; ++v) {
      const __m256 keys = load8(static_cast<const E*>(nullptr), k + d * kPageTokens + v * 8);
      for (std::uint32_t r = 0; r < R; ++r) {
        sums[r][v] = _mm256_fmadd_ps(keys, _mm256_set1_ps(q[r * head_dim + d]), sums[r][v]);
      }
    }
  }
  for (std::uint32_t r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) _mm256_storeu_ps(out + r * kPageTokens + v * 8, sums[r][v]);
  }
}

template <class E, int V>
void scores_from(const typename E::Type* k, std::uint32_t head_dim, const float* q, std::uint32_t rows,
                 Prefetcher& next, float* out) {
  std::uint32_t r = 0;
  for (; r + 2 <= rows; r += 2) scores_vectors<E, 2, V>(k, head_dim, q + r * head_dim, next, out + r * kPageTokens);
  if (r < rows) scores_vectors<E, 1, V>(k, head_dim, q + r * head_dim, next, out + r * kPageTokens);
}

template <class E>
void scores(const void* keys, std::uint32_t head_dim, const float* q, std::uint32_t rows, std::uint8_t boxes,
            PrefetchHint next, float* out) {
  const auto* k = static_cast<const typename E::Type*>(keys);
  Prefetcher prefetcher(next, head_dim);
  for (std::uint32_t t = 0; t < kPageTokens; t += 2 * kPageBoxTokens) {
    const std::uint32_t pair = boxes >> t / kPageBoxTokens & 3, box = t + (pair == 2 ? kPageBoxTokens : 0);
    if (pair == 3) {
      scores_from<E, 4>(k + t, head_dim, q, rows, prefetcher, out + t);
    } else if (pair != 0) {
      scores_from<E, 2>(k + box, head_dim, q, rows, prefetcher, out + box);
    }
  }
}

// V vectors of 8 channels for R rows.
template <class E, std::uint32_t R, std::uint32_t V>
void accumulate_rows(const typename E::Type* values, std::uint32_t head_dim, const float* p, const float* correction,
                     std::uint32_t count, std::uint8_t boxes, Prefetcher& next, float* acc) {
  __m256 sums[R][V];
  for (std::uint32_t r = 0; r < R; ++r) {
    for (std::uint32_t v = 0; v < V; ++v) {
      sums[r][v] = _mm256_mul_ps(_mm256_loadu_ps(acc + r * head_dim + v * 8), _mm256_set1_ps(correction[r]));
    }
  }
  for (std::uint32_t t = 0; t < count; ++t) {
    next.step();
    if ((boxes >> t / kPageBoxTokens & 1) == 0) continue;
    for (std::uint32_t v = 0; v < V; ++v) {
      const __m256 channels = load8(static_cast<const E*>(nullptr), values + t * head_dim + v * 8);
      for (std::uint32_t r = 0; r < R; ++r) {
        sums[r][v] = _mm256_fmadd_ps(channels, _mm256_set1_ps(p[r * kPageTokens + t]), sums[r][v]);
      }
    }
  }
  for (std::uint32_t r = 0; r < R; ++r) {
    for (std::uint32_t v = 0; v < V; ++v) _mm256_storeu_ps(acc + r * head_dim + v * 8, sums[r][v]);
  }
}

template <class E>
void accumulate(const void* values, std::uint32_t head_dim, const float* p, const float* correction, std::uint32_t rows,
                std::uint32_t count, std::uint8_t boxes, PrefetchHint next, float* acc) {
  Prefetcher prefetcher(next, count * ((head_dim + 31) / 32));
  const auto* v = static_cast<const typename E::Type*>(values);
  const auto visit = [&]<std::uint32_t R>(std::uint32_t r) {
    std::uint32_t d = 0;
    for (; d + 32 <= head_dim; d += 32) {
      accumulate_rows<E, R, 4>(v + d, head_dim, p + r * kPageTokens, correction + r, count, boxes, prefetcher,
                               acc + r * head_dim + d);
    }
    for (; d < head_dim; d += 8) {
      accumulate_rows<E, R, 1>(v + d, head_dim, p + r * kPageTokens, correction + r, count, boxes, prefetcher,
                               acc + r * head_dim + d);
    }
  };
  std::uint32_t r = 0;
  for (; r + 2 <= rows; r += 2) visit.template operator()<2>(r);
  if (r < rows) visit.template operator()<1>(r);
}

}  // namespace
}  // namespace cairn
