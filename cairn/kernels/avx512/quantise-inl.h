// SPDX-License-Identifier: Apache-2.0
// Activations to signed bytes.
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

}  // namespace
}  // namespace cairn
