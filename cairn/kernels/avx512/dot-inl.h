// SPDX-License-Identifier: Apache-2.0
// The quantised product by VNNI: activations to signed bytes, and its innermost step, four columns of 16 rows in one
// instruction.
#pragma once

#include <immintrin.h>

#include <bit>

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

// Where a step takes codes, scales and minima from: a chunk that was unpacked, or units as they lie in the panel.
template <class Format>
struct FromChunk {
  static constexpr bool kWholeTile = false;
  const Chunk& chunk;

  void codes(std::uint32_t g, std::uint32_t q, __m512i& low, __m512i& high) const {
    const std::uint8_t* group = chunk.codes + g * chunk.stride;
    low = _mm512_loadu_si512(group + q * kQuadBytes);
    high = _mm512_loadu_si512(group + (q + 4) * kQuadBytes);
  }
  __m512 scale(std::uint32_t group) const { return _mm512_loadu_ps(chunk.scales + group * kPanelRows); }
  __m512 minimum(std::uint32_t group) const { return _mm512_loadu_ps(chunk.minima + group * kPanelRows); }
  __m512 unit_scale() const { return _mm512_loadu_ps(chunk.unit_scale); }
  __m512 unit_minimum() const { return _mm512_loadu_ps(chunk.unit_minimum); }
};

template <class Format>
struct FromPanel {
  static constexpr bool kWholeTile = true;
  const std::uint8_t* first;

  void codes(std::uint32_t g, std::uint32_t q, __m512i& low, __m512i& high) const {
    Words low_words, high_words;
    Format::codes(unit_of<Format>(first, g), within_unit<Format>(g), q, low_words, high_words);
    low = std::bit_cast<__m512i>(low_words);
    high = std::bit_cast<__m512i>(high_words);
  }
  __m512 scale(std::uint32_t group) const { return get(&Format::scale, group); }
  __m512 minimum(std::uint32_t group) const { return get(&Format::minimum, group); }
  __m512 unit_scale() const {
    Floats values;
    Format::unit_scale(first, values);
    return std::bit_cast<__m512>(values);
  }
  __m512 unit_minimum() const {
    Floats values;
    Format::unit_minimum(first, values);
    return std::bit_cast<__m512>(values);
  }

 private:
  __m512 get(void (*read)(const std::uint8_t*, std::uint32_t, Floats&), std::uint32_t group) const {
    constexpr std::uint32_t kUnitGroups = Format::kUnitCols / kGroupValues * kParts<Format>;
    Floats values;
    read(unit_of<Format>(first, group / kParts<Format>), group % kUnitGroups, values);
    return std::bit_cast<__m512>(values);
  }
};

struct VnniDot {
  static constexpr std::uint32_t kInPanelRows = 4;

  template <class Format, std::uint32_t T>
  static void step(const Chunk& chunk, const TileView& tile, std::uint32_t offset, float* acc) {
    add_chunk<Format, T>(FromChunk<Format>{chunk}, chunk.cols, tile, offset, acc);
  }

  template <class Format, std::uint32_t T>
  static void step_in_panel(const std::uint8_t* first, std::uint32_t cols, const TileView& tile, float* acc) {
    add_chunk<Format, T>(FromPanel<Format>{first}, cols, tile, 0, acc);
  }

 private:
  // -zero_point times the sum of a group's codes, which is what stored codes add to the true product.
  template <class Format>
  static __m512i bias_of(const std::int32_t* biases, std::size_t n) {
    if constexpr (Format::kZeroPoint == 0) {
      return _mm512_setzero_si512();
    } else {
      __m512i total = _mm512_set1_epi32(biases[0]);
      if constexpr (kParts<Format> == 1) total = _mm512_add_epi32(total, _mm512_set1_epi32(biases[n]));
      return _mm512_srai_epi32(total, bias_shift<Format>());
    }
  }

  // Adds the products of group `group`, which is (part of) columns [32 g, 32 g + 32), to total.
  template <class Format, class From, std::uint32_t T>
  static void add_group(const From& from, std::uint32_t group, const TileView& tile, std::size_t at,
                        const __m512i (&dots)[T], __m512 (&total)[T]) {
    const __m512 scale = from.scale(group);
#pragma GCC unroll 12
    for (std::uint32_t t = 0; t < T; ++t) {
      const __m512 weighted = _mm512_mul_ps(_mm512_cvtepi32_ps(dots[t]), scale);
      total[t] = _mm512_fmadd_ps(weighted, _mm512_set1_ps(tile.scales[at + t]), total[t]);
    }
    if constexpr (Format::kMinimum && !Format::kFactors) {
      const __m512 minimum = from.minimum(group);
#pragma GCC unroll 12
      for (std::uint32_t t = 0; t < T; ++t)
        total[t] = _mm512_fnmadd_ps(minimum, _mm512_set1_ps(tile.sums[at + t]), total[t]);
    }
  }

  // Factors times the sums of the activations that they meet, over a unit.
  template <class Format, class From, std::uint32_t T>
  static void add_minima(const From& from, const TileView& tile, std::size_t n, std::uint32_t offset,
                         __m512 (&total)[T]) {
    __m512 below[T];
#pragma GCC unroll 12
    for (std::uint32_t t = 0; t < T; ++t) below[t] = _mm512_setzero_ps();
    for (std::uint32_t g = 0; g < Format::kUnitCols / 32; ++g) {
      const std::size_t at = std::size_t{g} * n + offset;
      const __m512 minimum = from.minimum(g * kParts<Format>);
      if constexpr (kParts<Format> == 1) {
#pragma GCC unroll 12
        for (std::uint32_t t = 0; t < T; ++t)
          below[t] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(tile.sums[at + t]), below[t]);
      } else {
        const __m512 next = from.minimum(g * kParts<Format> + 1);
        const std::int32_t* codes = tile.biases + std::size_t{2 * g} * n + offset;
#pragma GCC unroll 12
        for (std::uint32_t t = 0; t < T; ++t) {
          const __m512 first = _mm512_set1_ps(static_cast<float>(codes[t]));
          const __m512 second = _mm512_set1_ps(static_cast<float>(codes[n + t]));
          const __m512 both = _mm512_fmadd_ps(next, second, _mm512_mul_ps(minimum, first));
          below[t] = _mm512_fmadd_ps(both, _mm512_set1_ps(tile.scales[at + t]), below[t]);
        }
      }
    }
    const __m512 unit = from.unit_minimum();
#pragma GCC unroll 12
    for (std::uint32_t t = 0; t < T; ++t) total[t] = _mm512_fnmadd_ps(below[t], unit, total[t]);
  }

  template <class Format, std::uint32_t T, class From>
  static void add_chunk(const From& from, std::uint32_t cols, const TileView& tile, std::uint32_t offset, float* acc) {
    // A tile of which all rows are meant: addresses are constants then.
    const std::size_t n = From::kWholeTile || T == kTileRows ? T : tile.rows;
    constexpr bool kBoth = T <= 4 && !Format::kInPlace;
    __m512 total[T];
#pragma GCC unroll 12
    for (std::uint32_t t = 0; t < T; ++t)
      total[t] = Format::kFactors ? _mm512_setzero_ps() : _mm512_loadu_ps(acc + t * kPanelRows);
    const std::uint32_t groups = Format::kFactors ? Format::kUnitCols / 32 : cols / 32;
    for (std::uint32_t g = 0; g < groups; ++g) {
      const std::int8_t* a = tile.codes + (g * kQuads * n + offset) * 4;
      const std::int32_t* biases = tile.biases + 2 * g * n + offset;
      __m512i dots[2][T];
#pragma GCC unroll 12
      for (std::uint32_t t = 0; t < T; ++t) {
        dots[0][t] = bias_of<Format>(biases + t, n);
        if constexpr (kBoth)
          dots[1][t] = kParts<Format> == 1 ? _mm512_setzero_si512() : bias_of<Format>(biases + n + t, n);
      }
      if constexpr (kBoth) {  // both halves of the group at once
#pragma GCC unroll 4
        for (std::uint32_t q = 0; q < 4; ++q) {
          __m512i low, high;
          from.codes(g, q, low, high);
#pragma GCC unroll 12
          for (std::uint32_t t = 0; t < T; ++t) {
            dots[0][t] = _mm512_dpbusd_epi32(dots[0][t], low, broadcast4(a + (q * n + t) * 4));
            dots[1][t] = _mm512_dpbusd_epi32(dots[1][t], high, broadcast4(a + ((q + 4) * n + t) * 4));
          }
        }
        if constexpr (kParts<Format> == 1) {
#pragma GCC unroll 12
          for (std::uint32_t t = 0; t < T; ++t) dots[0][t] = _mm512_add_epi32(dots[0][t], dots[1][t]);
        }
        add_group<Format>(from, g * kParts<Format>, tile, g * n + offset, dots[0], total);
        if constexpr (kParts<Format> == 2) add_group<Format>(from, g * 2 + 1, tile, g * n + offset, dots[1], total);
      } else {  // there are not registers enough for that
#pragma GCC unroll 8
        for (std::uint32_t q = 0; q < kQuads; ++q) {
          __m512i low, high;
          from.codes(g, q % 4, low, high);
          const __m512i w = q < 4 ? low : high;
#pragma GCC unroll 12
          for (std::uint32_t t = 0; t < T; ++t)
            dots[0][t] = _mm512_dpbusd_epi32(dots[0][t], w, broadcast4(a + (q * n + t) * 4));
          if constexpr (kParts<Format> == 2) {
            if (q == 3) {
              add_group<Format>(from, g * 2, tile, g * n + offset, dots[0], total);
#pragma GCC unroll 12
              for (std::uint32_t t = 0; t < T; ++t) dots[0][t] = bias_of<Format>(biases + n + t, n);
            }
          }
        }
        add_group<Format>(from, g * kParts<Format> + kParts<Format> - 1, tile, g * n + offset, dots[0], total);
      }
    }
    if constexpr (Format::kFactors) {
      const __m512 unit = from.unit_scale();
#pragma GCC unroll 12
      for (std::uint32_t t = 0; t < T; ++t)
        total[t] = _mm512_fmadd_ps(total[t], unit, _mm512_loadu_ps(acc + t * kPanelRows));
      if constexpr (Format::kMinimum) add_minima<Format>(from, tile, n, offset, total);
    }
#pragma GCC unroll 12
    for (std::uint32_t t = 0; t < T; ++t) _mm512_storeu_ps(acc + t * kPanelRows, total[t]);
  }
};

}  // namespace
}  // namespace cairn
