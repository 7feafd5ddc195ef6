// SPDX-License-Identifier: Apache-2.0
// Attention over raw pages: scores and weighted values, four query rows at a time so that a page is converted once for
// them, and the online softmax step, 16 tokens at a time.
#pragma once

#include <immintrin.h>

#include "cairn/kernels/elementwise-inl.h"
#include "cairn/kernels/prefetch-inl.h"

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

void softmax_block(float* s, const std::uint64_t* masks, std::uint32_t rows, float* max, float* sum,
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

// Boxes as a kernel walks them: the first token of each.
struct BoxList {
  std::uint32_t count = 0;
  std::uint32_t first[kPageBoxes] = {};

  explicit BoxList(std::uint8_t boxes) {
    for (std::uint32_t b = 0; b < kPageBoxes; ++b) {
      if ((boxes >> b & 1) != 0) first[count++] = b * kPageBoxTokens;
    }
  }
};

// B boxes, from their first tokens on, for R rows.
template <class E, std::uint32_t R, std::uint32_t B>
void scores_boxes(const typename E::Type* k, const std::uint32_t* first, std::uint32_t head_dim, const float* q,
                  Prefetcher& next, float* out) {
  __m512 sums[R][B];
  std::uint32_t at[B];
#pragma GCC unroll 4
  for (std::uint32_t b = 0; b < B; ++b) at[b] = B == kPageBoxes ? b * kPageBoxTokens : first[b];
#pragma GCC unroll 4
  for (std::uint32_t r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (std::uint32_t b = 0; b < B; ++b) sums[r][b] = _mm512_setzero_ps();
  }
  for (std::uint32_t d = 0; d < head_dim; ++d) {
    next.step();
    __m512 keys[B];
#pragma GCC unroll 4
    for (std::uint32_t b = 0; b < B; ++b) keys[b] = load16(static_cast<const E*>(nullptr), k + d * kPageTokens + at[b]);
#pragma GCC unroll 4
    for (std::uint32_t r = 0; r < R; ++r) {
      const __m512 query = _mm512_set1_ps(q[r * head_dim + d]);
#pragma GCC unroll 4
      for (std::uint32_t b = 0; b < B; ++b) sums[r][b] = _mm512_fmadd_ps(keys[b], query, sums[r][b]);
    }
  }
#pragma GCC unroll 4
  for (std::uint32_t r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (std::uint32_t b = 0; b < B; ++b) _mm512_storeu_ps(out + r * kPageTokens + at[b], sums[r][b]);
  }
}

template <class E, std::uint32_t R>
void scores_rows(const typename E::Type* k, const BoxList& boxes, std::uint32_t head_dim, const float* q,
                 Prefetcher& next, float* out) {
  switch (boxes.count) {
    case 4: return scores_boxes<E, R, 4>(k, boxes.first, head_dim, q, next, out);
    case 3: return scores_boxes<E, R, 3>(k, boxes.first, head_dim, q, next, out);
    case 2: return scores_boxes<E, R, 2>(k, boxes.first, head_dim, q, next, out);
    case 1: return scores_boxes<E, R, 1>(k, boxes.first, head_dim, q, next, out);
    default: return;
  }
}

template <class E>
void scores(const void* keys, std::uint32_t head_dim, const float* q, std::uint32_t rows, std::uint8_t boxes,
            PrefetchHint next, float* out) {
  const auto* k = static_cast<const typename E::Type*>(keys);
  const BoxList list(boxes);
  Prefetcher prefetcher(next, head_dim);
  const auto visit = [&]<std::uint32_t R>(std::uint32_t r) {
    scores_rows<E, R>(k, list, head_dim, q + r * head_dim, prefetcher, out + r * kPageTokens);
  };
  std::uint32_t r = 0;
  for (; r + 4 <= rows; r += 4) visit.template operator()<4>(r);
  switch (rows - r) {
    case 3: return visit.template operator()<3>(r);
    case 2: return visit.template operator()<2>(r);
    case 1: return visit.template operator()<1>(r);
    default: return;
  }
}

// V vectors of 16 channels (or one of 8 when Half) for R rows.
template <class E, std::uint32_t R, std::uint32_t V, bool Half>
void accumulate_rows(const typename E::Type* values, std::uint32_t head_dim, const float* p, const float* correction,
                     std::uint32_t count, const BoxList& boxes, Prefetcher& next, float* acc) {
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
  for (std::uint32_t b = 0; b < boxes.count; ++b) {
    const std::uint32_t end = count < boxes.first[b] + kPageBoxTokens ? count : boxes.first[b] + kPageBoxTokens;
    for (std::uint32_t t = boxes.first[b]; t < end; ++t) {
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
  }
#pragma GCC unroll 4
  for (std::uint32_t r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (std::uint32_t v = 0; v < V; ++v) _mm512_mask_storeu_ps(acc + r * head_dim + v * 16, lanes, sums[r][v]);
  }
}

template <class E, std::uint32_t R>
void accumulate_channels(const typename E::Type* values, std::uint32_t head_dim, const float* p,
                         const float* correction, std::uint32_t count, const BoxList& boxes, Prefetcher& next,
                         float* acc) {
  std::uint32_t d = 0;
  for (; d + 64 <= head_dim; d += 64) {
    accumulate_rows<E, R, 4, false>(values + d, head_dim, p, correction, count, boxes, next, acc + d);
  }
  for (; d + 16 <= head_dim; d += 16) {
    accumulate_rows<E, R, 1, false>(values + d, head_dim, p, correction, count, boxes, next, acc + d);
  }
  if (d < head_dim) accumulate_rows<E, R, 1, true>(values + d, head_dim, p, correction, count, boxes, next, acc + d);
}

template <class E>
void accumulate(const void* values, std::uint32_t head_dim, const float* p, const float* correction, std::uint32_t rows,
                std::uint32_t count, std::uint8_t boxes, PrefetchHint next, float* acc) {
  const BoxList list(boxes);
  const std::uint32_t tokens = list.count == kPageBoxes ? count : list.count * kPageBoxTokens;
  Prefetcher prefetcher(next, tokens * ((head_dim + 63) / 64));
  const auto* v = static_cast<const typename E::Type*>(values);
  std::uint32_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    accumulate_channels<E, 4>(v, head_dim, p + r * kPageTokens, correction + r, count, list, prefetcher,
                              acc + r * head_dim);
  }
  for (; r < rows; ++r) {
    accumulate_channels<E, 1>(v, head_dim, p + r * kPageTokens, correction + r, count, list, prefetcher,
                              acc + r * head_dim);
  }
}

}  // namespace
}  // namespace cairn
