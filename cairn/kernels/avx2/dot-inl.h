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

inline __m256i broadcast4(const std::int8_t* p) {
  std::int32_t word;
  __builtin_memcpy(&word, p, 4);
  return _mm256_set1_epi32(word);
}

// 8 of the panel's 16 rows at a time.
struct MaddDot {
  static constexpr std::uint32_t kInPanelRows = 0;

  // Exact sums of a group's products for T rows of activations, a quad of which is n * 4 bytes from the next.
  template <class Format, std::uint32_t T>
  static void dot_group(const std::uint8_t* codes, const std::int8_t* a, const std::int32_t* biases, std::size_t n,
                        __m256i (&dots)[T]) {
    constexpr std::uint32_t kQuadsHere = Format::kGroupQuads;
    const __m256i ones = _mm256_set1_epi16(1);
    if constexpr (Format::kZeroPoint == 128) {
      // Codes are made signed. |w| and sign(a, w) keep sums of two products below 2^15.
      for (std::uint32_t t = 0; t < T; ++t) dots[t] = _mm256_setzero_si256();
      for (std::uint32_t q = 0; q < kQuadsHere; ++q, a += n * 4) {
        const __m256i stored = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + q * kQuadBytes));
        const __m256i w = _mm256_sub_epi8(stored, _mm256_set1_epi8(static_cast<char>(128)));
        const __m256i magnitude = _mm256_abs_epi8(w);
        for (std::uint32_t t = 0; t < T; ++t) {
          const __m256i pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(broadcast4(a + t * 4), w));
          dots[t] = _mm256_add_epi32(dots[t], _mm256_madd_epi16(pairs, ones));
        }
      }
    } else {
      // Small codes: as many sums of two products as stay below 2^15 together are added before they are widened.
      constexpr std::uint32_t kFit = 32767 / (Format::Codes::kMaxCode * 254);
      constexpr std::uint32_t kRun = kFit >= 8 && kQuadsHere == 8 ? 8 : kFit >= 4 ? 4 : 2;
      static_assert(kFit >= kRun);
      for (std::uint32_t t = 0; t < T; ++t) dots[t] = _mm256_set1_epi32(bias<Format>(biases + t, n));
      for (std::uint32_t q = 0; q < kQuadsHere; q += kRun) {
        __m256i pairs[T];
        for (std::uint32_t t = 0; t < T; ++t) pairs[t] = _mm256_setzero_si256();
        for (std::uint32_t i = 0; i < kRun; ++i, a += n * 4) {
          const __m256i w = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + (q + i) * kQuadBytes));
          for (std::uint32_t t = 0; t < T; ++t) {
            pairs[t] = _mm256_add_epi16(pairs[t], _mm256_maddubs_epi16(w, broadcast4(a + t * 4)));
          }
        }
        for (std::uint32_t t = 0; t < T; ++t) dots[t] = _mm256_add_epi32(dots[t], _mm256_madd_epi16(pairs[t], ones));
      }
    }
  }

  // Factors times the sums of the activations that they meet, over a unit.
  template <class Format>
  static __m256 minima(const float* factors, const TileView& tile, std::uint32_t row) {
    __m256 total = _mm256_setzero_ps();
    for (std::uint32_t g = 0; g < Format::kUnitCols / 32; ++g) {
      const float* minimum = factors + g * kParts<Format> * kPanelRows;
      const std::size_t at = std::size_t{g} * tile.rows + row;
      if constexpr (kParts<Format> == 1) {
        total = _mm256_fmadd_ps(_mm256_loadu_ps(minimum), _mm256_set1_ps(tile.sums[at]), total);
      } else {
        const std::int32_t* codes = tile.biases + std::size_t{2 * g} * tile.rows + row;
        const __m256 first = _mm256_set1_ps(static_cast<float>(codes[0]));
        const __m256 second = _mm256_set1_ps(static_cast<float>(codes[tile.rows]));
        const __m256 both = _mm256_fmadd_ps(_mm256_loadu_ps(minimum + kPanelRows), second,
                                            _mm256_mul_ps(_mm256_loadu_ps(minimum), first));
        total = _mm256_fmadd_ps(both, _mm256_set1_ps(tile.scales[at]), total);
      }
    }
    return total;
  }

  template <class Format, std::uint32_t T>
  static void step(const Chunk& chunk, const TileView& tile, std::uint32_t offset, float* acc) {
    if constexpr (T > 4) {  // 16 registers hold the sums of 4 rows
      for (std::uint32_t t = 0; t < T; t += 4) step<Format, 4>(chunk, tile, offset + t, acc + t * kPanelRows);
    } else {
      step_half<Format, T>(chunk, tile, offset, 0, acc);
      step_half<Format, T>(chunk, tile, offset, 8, acc + 8);
    }
  }

  // Rows [half, half + 8) of the panel.
  template <class Format, std::uint32_t T>
  static void step_half(const Chunk& chunk, const TileView& tile, std::uint32_t offset, std::uint32_t half,
                        float* acc) {
    const std::size_t n = tile.rows;
    __m256 total[T];
    for (std::uint32_t t = 0; t < T; ++t)
      total[t] = Format::kFactors ? _mm256_setzero_ps() : _mm256_loadu_ps(acc + t * kPanelRows);
    for (std::uint32_t g = 0; g < chunk.cols / 32; ++g) {
      for (std::uint32_t part = 0; part < kParts<Format>; ++part) {
        const std::uint32_t quad = part * Format::kGroupQuads, group = g * kParts<Format> + part;
        __m256i dots[T];
        dot_group<Format, T>(chunk.codes + g * chunk.stride + quad * kQuadBytes + half * 4,
                             tile.codes + ((std::size_t{g} * kQuads + quad) * n + offset) * 4,
                             tile.biases + (std::size_t{2 * g} + part) * n + offset, n, dots);
        const __m256 scale = _mm256_loadu_ps(chunk.scales + group * kPanelRows + half);
        for (std::uint32_t t = 0; t < T; ++t) {
          const __m256 weighted = _mm256_mul_ps(_mm256_cvtepi32_ps(dots[t]), scale);
          total[t] = _mm256_fmadd_ps(weighted, _mm256_set1_ps(tile.scales[g * n + offset + t]), total[t]);
        }
        if constexpr (Format::kMinimum && !Format::kFactors) {
          const __m256 minimum = _mm256_loadu_ps(chunk.minima + group * kPanelRows + half);
          for (std::uint32_t t = 0; t < T; ++t)
            total[t] = _mm256_fnmadd_ps(minimum, _mm256_set1_ps(tile.sums[g * n + offset + t]), total[t]);
        }
      }
    }
    for (std::uint32_t t = 0; t < T; ++t) {
      if constexpr (Format::kFactors) {
        const __m256 sum = _mm256_loadu_ps(acc + t * kPanelRows);
        total[t] = _mm256_fmadd_ps(total[t], _mm256_loadu_ps(chunk.unit_scale + half), sum);
        if constexpr (Format::kMinimum) {
          const __m256 below = minima<Format>(chunk.minima + half, tile, offset + t);
          total[t] = _mm256_fnmadd_ps(below, _mm256_loadu_ps(chunk.unit_minimum + half), total[t]);
        }
      }
      _mm256_storeu_ps(acc + t * kPanelRows, total[t]);
    }
  }
};

}  // namespace
}  // namespace cairn
