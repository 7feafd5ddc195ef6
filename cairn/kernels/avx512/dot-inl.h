// SPDX-License-Identifier: Apache-2.0
// The innermost step of the quantised product by VNNI: four columns of 16 rows in one instruction.
#pragma once

#include <immintrin.h>

#include "cairn/kernels/matmul-inl.h"

namespace cairn {
namespace {

inline __m512i broadcast4(const std::int8_t* p) {
  std::int32_t word;
  __builtin_memcpy(&word, p, 4);
  return _mm512_set1_epi32(word);
}

struct VnniDot {
  // -zero_point times the sum of a group's codes, which is what stored codes add to the true product.
  template <class Format>
  static __m512i bias(const std::int32_t* biases, std::uint32_t rows) {
    static_assert(Format::kZeroPoint == 128 || Format::kZeroPoint == 32 || Format::kZeroPoint == 8 ||
                  Format::kZeroPoint == 0);
    if constexpr (Format::kZeroPoint == 0) {
      return _mm512_setzero_si512();
    } else {
      __m512i total = _mm512_set1_epi32(biases[0]);
      if constexpr (Format::kGroupQuads == 8) total = _mm512_add_epi32(total, _mm512_set1_epi32(biases[rows]));
      if constexpr (Format::kZeroPoint == 32) total = _mm512_srai_epi32(total, 2);
      if constexpr (Format::kZeroPoint == 8) total = _mm512_srai_epi32(total, 4);
      return total;
    }
  }

  template <class Format, std::uint32_t T>
  static void step(const Chunk& chunk, const TileView& tile, std::uint32_t offset, float* acc) {
    constexpr std::uint32_t kGroups = kQuads / Format::kGroupQuads;  // per 32 columns
    const std::size_t n = tile.rows;
    const std::int8_t* a = tile.codes + offset * 4;
    const std::int32_t* biases = tile.biases + offset;
    const float* scales = tile.scales + offset;
    const float* sums = tile.sums + offset;
    const std::uint8_t* codes = chunk.codes;
    __m512 total[T];
#pragma GCC unroll 12
    for (std::uint32_t t = 0; t < T; ++t) total[t] = _mm512_loadu_ps(acc + t * kPanelRows);
    for (std::uint32_t g = 0; g < chunk.cols / 32; ++g) {
#pragma GCC unroll 2
      for (std::uint32_t part = 0; part < kGroups; ++part) {
        __m512i dots[T];
#pragma GCC unroll 12
        for (std::uint32_t t = 0; t < T; ++t) dots[t] = bias<Format>(biases + part * n + t, tile.rows);
#pragma GCC unroll 8
        for (std::uint32_t q = 0; q < Format::kGroupQuads; ++q) {
          const __m512i w = _mm512_loadu_si512(codes + (part * Format::kGroupQuads + q) * kQuadBytes);
#pragma GCC unroll 12
          for (std::uint32_t t = 0; t < T; ++t) dots[t] = _mm512_dpbusd_epi32(dots[t], w, broadcast4(a + t * 4));
          a += n * 4;
        }
        const __m512 scale = _mm512_loadu_ps(chunk.scales + (g * kGroups + part) * kPanelRows);
#pragma GCC unroll 12
        for (std::uint32_t t = 0; t < T; ++t) {
          const __m512 weighted = _mm512_mul_ps(_mm512_cvtepi32_ps(dots[t]), scale);
          total[t] = _mm512_fmadd_ps(weighted, _mm512_set1_ps(scales[t]), total[t]);
        }
        if constexpr (Format::kMinimum) {
          const __m512 minimum = _mm512_loadu_ps(chunk.minima + g * kPanelRows);
#pragma GCC unroll 12
          for (std::uint32_t t = 0; t < T; ++t) {
            total[t] = _mm512_fnmadd_ps(minimum, _mm512_set1_ps(sums[t]), total[t]);
          }
        }
      }
      codes += chunk.stride;
      biases += 2 * n;
      scales += n;
      sums += n;
    }
#pragma GCC unroll 12
    for (std::uint32_t t = 0; t < T; ++t) _mm512_storeu_ps(acc + t * kPanelRows, total[t]);
  }
};

}  // namespace
}  // namespace cairn
