// SPDX-License-Identifier: Apache-2.0
// The quantised product without VNNI: activations to signed bytes, and its innermost step.
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

// Signed codes times signed activations by way of |w| and sign(a, w): pairs of 16-bit sums then stay below 2^15.
struct MaddDot {
  static __m256i multiply(__m256i w, __m256i magnitude, __m256i activation) {
    const __m256i pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(activation, w));
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
  }

  template <class Format, std::uint32_t T>
  static void step(const Chunk& chunk, const TileView& tile, std::uint32_t offset, float* acc) {
    if constexpr (T > 4) {  // 16 registers hold the sums of 4 rows
      for (std::uint32_t t = 0; t < T; t += 4) step<Format, 4>(chunk, tile, offset + t, acc + t * kPanelRows);
    } else {
      constexpr std::uint32_t kGroups = kQuads / Format::kGroupQuads;
      const std::size_t n = tile.rows;
      const __m256i zero_point = _mm256_set1_epi8(static_cast<char>(Format::kZeroPoint));
      for (std::uint32_t half = 0; half < 2; ++half) {  // 8 of the panel's 16 rows
        float* to = acc + half * 8;
        __m256 total[T];
        for (std::uint32_t t = 0; t < T; ++t) total[t] = _mm256_loadu_ps(to + t * kPanelRows);
        const std::int8_t* a = tile.codes + offset * 4;
        for (std::uint32_t g = 0; g < chunk.cols / 32; ++g) {
          for (std::uint32_t part = 0; part < kGroups; ++part) {
            __m256i dots[T];
            for (std::uint32_t t = 0; t < T; ++t) dots[t] = _mm256_setzero_si256();
            for (std::uint32_t q = 0; q < Format::kGroupQuads; ++q) {
              const auto* at =
                  chunk.codes + g * chunk.stride + (part * Format::kGroupQuads + q) * kQuadBytes + half * 32;
              const __m256i w = _mm256_sub_epi8(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)), zero_point);
              const __m256i magnitude = _mm256_abs_epi8(w);
              for (std::uint32_t t = 0; t < T; ++t) {
                std::int32_t word;
                __builtin_memcpy(&word, a + t * 4, 4);
                dots[t] = _mm256_add_epi32(dots[t], multiply(w, magnitude, _mm256_set1_epi32(word)));
              }
              a += n * 4;
            }
            const __m256 scale = _mm256_loadu_ps(chunk.scales + (g * kGroups + part) * kPanelRows + half * 8);
            for (std::uint32_t t = 0; t < T; ++t) {
              const __m256 weighted = _mm256_mul_ps(_mm256_cvtepi32_ps(dots[t]), scale);
              total[t] = _mm256_fmadd_ps(weighted, _mm256_set1_ps(tile.scales[g * n + offset + t]), total[t]);
            }
            if constexpr (Format::kMinimum) {
              const __m256 minimum = _mm256_loadu_ps(chunk.minima + g * kPanelRows + half * 8);
              for (std::uint32_t t = 0; t < T; ++t) {
                total[t] = _mm256_fnmadd_ps(minimum, _mm256_set1_ps(tile.sums[g * n + offset + t]), total[t]);
              }
            }
          }
        }
        for (std::uint32_t t = 0; t < T; ++t) _mm256_storeu_ps(to + t * kPanelRows, total[t]);
      }
    }
  }
};

}  // namespace
}  // namespace cairn
