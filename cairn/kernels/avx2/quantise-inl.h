// SPDX-License-Identifier: Apache-2.0
// Activations to signed bytes.
#pragma once

#include <immintrin.h>

#include "cairn/kernels/matmul-inl.h"

namespace cairn {
namespace {

inline float largest_of(__m256 v) {
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_max_ss(m, _mm_shuffle_ps(m, m, 1)));
}

void quantise_tile(const float* x, std::size_t x_stride, ActivationTiles out, std::uint32_t tile) {
  const std::size_t before = std::size_t{tile} * kTileRows;
  const std::uint32_t n = smaller(kTileRows, out.rows - tile * kTileRows);
  const __m256 magnitude_bits = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  for (std::uint32_t r = 0; r < n; ++r) {
    const float* row = x + (before + r) * x_stride;
    for (std::uint32_t g = 0; g < out.cols / 32; ++g) {
      const float* group = row + g * 32;
      __m256 m = _mm256_setzero_ps();
      // The operand order keeps NaN out of the maximum, as the scalar comparison does.
      for (int i = 0; i < 4; ++i) m = _mm256_max_ps(_mm256_and_ps(_mm256_loadu_ps(group + i * 8), magnitude_bits), m);
      const float largest = largest_of(m);
      const float inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
      const float scale = largest / 127.0f;
      alignas(32) std::int32_t codes[32];
      for (int i = 0; i < 4; ++i) {
        __m256 v = _mm256_mul_ps(_mm256_loadu_ps(group + i * 8), _mm256_set1_ps(inverse));
        v = _mm256_min_ps(_mm256_max_ps(v, _mm256_set1_ps(-127.0f)), _mm256_set1_ps(127.0f));
        _mm256_store_si256(reinterpret_cast<__m256i*>(codes + i * 8), _mm256_cvtps_epi32(v));
      }
      std::int32_t sums[2] = {};
      std::int8_t* to = out.codes + before * out.cols + (std::size_t{g} * 8 * n + r) * 4;
      for (std::uint32_t k = 0; k < 32; ++k) {
        sums[k / 16] += codes[k];
        to[std::size_t{k / 4} * n * 4 + k % 4] = static_cast<std::int8_t>(codes[k]);
      }
      const std::size_t at = before * (out.cols / 32) + std::size_t{g} * n + r;
      out.scales[at] = scale;
      out.sums[at] = scale * static_cast<float>(sums[0] + sums[1]);
      std::int32_t* biases = out.biases + before * (out.cols / 16) + std::size_t{g} * 2 * n + r;
      biases[0] = -128 * sums[0];
      biases[n] = -128 * sums[1];
    }
  }
}

}  // namespace
}  // namespace cairn
