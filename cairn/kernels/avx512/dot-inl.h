// SPDX-License-Identifier: Apache-2.0
// The quantised product by VNNI: activations to signed bytes, and its innermost step, four columns of 16 rows in one
// instruction.
#pragma once

#include <immintrin.h>

#include "cairn/kernels/matmul-inl.h"

namespace cairn {
namespace {

void quantise_tile(const float* x, std::size_t x_stride, ActivationTiles out, std::uint32_t tile) {
  const std::size_t before = std::size_t{tile} * kTileRows;
  const std::uint32_t n = smaller(kTileRows, out.rows - tile * kTileRows);
  const __m512 low = _mm512_set1_ps(-127.0f), high = _mm512_set1_ps(127.0f);
  for (std::uint32_t r = 0; r < n; ++r) {
    const float* row = x + (before + r) * x_stride;
    for (std::uint32_t g = 0; g < out.cols / 32; ++g) {
      const __m512 first = _mm512_loadu_ps(row + g * 32), second = _mm512_loadu_ps(row + g * 32 + 16);
      // The operand order keeps NaN out of the maximum, as the scalar comparison does.
      const __m512 m = _mm512_max_ps(_mm512_abs_ps(first), _mm512_setzero_ps());
      const float largest = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(second), m));
      const float inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
      const float scale = largest / 127.0f;
      const auto round = [&](__m512 v) {
        v = _mm512_max_ps(_mm512_mul_ps(v, _mm512_set1_ps(inverse)), low);
        return _mm512_cvtps_epi32(_mm512_min_ps(v, high));
      };
      const __m512i a = round(first), b = round(second);
      const std::int32_t sum_a = _mm512_reduce_add_epi32(a), sum_b = _mm512_reduce_add_epi32(b);
      alignas(16) std::int8_t codes[32];
      _mm_store_si128(reinterpret_cast<__m128i*>(codes), _mm512_cvtepi32_epi8(a));
      _mm_store_si128(reinterpret_cast<__m128i*>(codes + 16), _mm512_cvtepi32_epi8(b));
      std::int8_t* to = out.codes + before * out.cols + (std::size_t{g} * 8 * n + r) * 4;
      for (std::uint32_t q = 0; q < kQuads; ++q) __builtin_memcpy(to + std::size_t{q} * n * 4, codes + q * 4, 4);
      const std::size_t at = before * (out.cols / 32) + std::size_t{g} * n + r;
      out.scales[at] = scale;
      out.sums[at] = scale * static_cast<float>(sum_a + sum_b);
      std::int32_t* biases = out.biases + before * (out.cols / 16) + std::size_t{g} * 2 * n + r;
      biases[0] = -128 * sum_a;
      biases[n] = -128 * sum_b;
    }
  }
}

inline __m512i broadcast4(const std::int8_t* p) {
  std::int32_t word;
  __builtin_memcpy(&word, p, 4);
  return _mm512_set1_epi32(word);
}

struct VnniDot {
  // -zero_point times the sum of a group's codes, which is what stored codes add to the true product.
  template <class Format>
  static __m512i bias(const std::int32_t* biases, std::uint32_t rows) {
    static_assert(Format::kZeroPoint == 128 || Format::kZeroPoint == 32 || Format::kZeroPoint == 16 ||
                  Format::kZeroPoint == 8 || Format::kZeroPoint == 0);
    if constexpr (Format::kZeroPoint == 0) {
      return _mm512_setzero_si512();
    } else {
      __m512i total = _mm512_set1_epi32(biases[0]);
      if constexpr (Format::kGroupQuads == 8) total = _mm512_add_epi32(total, _mm512_set1_epi32(biases[rows]));
      if constexpr (Format::kZeroPoint == 32) total = _mm512_srai_epi32(total, 2);
      if constexpr (Format::kZeroPoint == 16) total = _mm512_srai_epi32(total, 3);
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
