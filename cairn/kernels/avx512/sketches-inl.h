// SPDX-License-Identifier: Apache-2.0
// sketch_tops for up to four rows and two tokens of each box at a time: enough sums to hide how long a dot product
// takes.
#pragma once

#include <immintrin.h>

#include "cairn/kernels/avx512/code_vectors-inl.h"
#include "cairn/kernels/avx512/pages-inl.h"
#include "cairn/kernels/prefetch-inl.h"
#include "cairn/kernels/sketches-inl.h"

namespace cairn {
namespace {

template <std::uint32_t R>
void sketch_rows(const SketchSheet& sheet, const SketchQuery* queries, Prefetcher& next, float* tops) {
  constexpr std::uint32_t kTokens = 2;
  const std::uint32_t vectors = sketch_vectors(sheet.depth);
  __m512 best[R];
  __m512i bias[R];
#pragma GCC unroll 4
  for (std::uint32_t r = 0; r < R; ++r) {
    best[r] = _mm512_set1_ps(-__builtin_inff());
    bias[r] = _mm512_set1_epi32(-3 * queries[r].sum);
  }
  for (std::uint32_t t = 0; t < kPageBoxTokens; t += kTokens) {
    const std::uint8_t* at = sheet.codes + std::size_t{t} * vectors * 64;
    __m512i dots[R][kTokens];
#pragma GCC unroll 4
    for (std::uint32_t r = 0; r < R; ++r) {
#pragma GCC unroll 2
      for (std::uint32_t i = 0; i < kTokens; ++i) dots[r][i] = _mm512_setzero_si512();
    }
    for (std::uint32_t v = 0; v < vectors; ++v) {
      next.step();
      __m512i packed[kTokens];
#pragma GCC unroll 2
      for (std::uint32_t i = 0; i < kTokens; ++i) {
        packed[i] = _mm512_loadu_si512(at + (std::size_t{i} * vectors + v) * 64);
      }
#pragma GCC unroll 4
      for (std::uint32_t k = 0; k < 4; ++k) {
        __m512i codes[kTokens];
#pragma GCC unroll 2
        for (std::uint32_t i = 0; i < kTokens; ++i) codes[i] = unpack_quad<2>(packed[i], k);
#pragma GCC unroll 4
        for (std::uint32_t r = 0; r < R; ++r) {
          const __m512i query = broadcast_word(queries[r].codes + v * kSketchChannels + k * 4);
#pragma GCC unroll 2
          for (std::uint32_t i = 0; i < kTokens; ++i) dots[r][i] = _mm512_dpbusd_epi32(dots[r][i], codes[i], query);
        }
      }
    }
#pragma GCC unroll 2
    for (std::uint32_t i = 0; i < kTokens; ++i) {
      const __m512 scale = load16(static_cast<const F16*>(nullptr), sheet.scales + (t + i) * kSketchBoxes);
#pragma GCC unroll 4
      for (std::uint32_t r = 0; r < R; ++r) {
        const __m512i twice = _mm512_add_epi32(_mm512_add_epi32(dots[r][i], dots[r][i]), bias[r]);
        best[r] = _mm512_max_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(twice), scale), best[r]);
      }
    }
  }
#pragma GCC unroll 4
  for (std::uint32_t r = 0; r < R; ++r) {
    const __m512 base = _mm512_set1_ps(middle_score(sheet, queries[r]));
    _mm512_storeu_ps(tops + r * kSketchBoxes, _mm512_fmadd_ps(best[r], _mm512_set1_ps(queries[r].scale), base));
  }
}

void sketch_tops(const SketchSheet& sheet, const SketchQuery* queries, std::uint32_t rows, PrefetchHint next,
                 float* tops) {
  Prefetcher prefetcher(next, kPageBoxTokens / 2 * sketch_vectors(sheet.depth));
  std::uint32_t r = 0;
  for (; r + 4 <= rows; r += 4) sketch_rows<4>(sheet, queries + r, prefetcher, tops + r * kSketchBoxes);
  switch (rows - r) {
    case 3: return sketch_rows<3>(sheet, queries + r, prefetcher, tops + r * kSketchBoxes);
    case 2: return sketch_rows<2>(sheet, queries + r, prefetcher, tops + r * kSketchBoxes);
    case 1: return sketch_rows<1>(sheet, queries + r, prefetcher, tops + r * kSketchBoxes);
    default: return;
  }
}

}  // namespace
}  // namespace cairn
