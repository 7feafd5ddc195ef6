// SPDX-License-Identifier: Apache-2.0
// Scores and weighted values over integer codes, which become bytes first. The products are those of 16-bit words:
// exact for every byte, where the instruction for bytes would saturate.
#pragma once

#include "cairn/kernels/avx2/code_bytes-inl.h"
#include "cairn/kernels/avx2/code_rows-inl.h"
#include "cairn/kernels/prefetch-inl.h"

namespace cairn {
namespace {

inline __m256i broadcast_pair(const std::int16_t* p) {
  std::int32_t pair;
  __builtin_memcpy(&pair, p, sizeof(pair));
  return _mm256_set1_epi32(pair);
}

// The products of a block of 16 lanes, as two halves, with R rows over quads [first, last).
template <std::uint32_t R, class Row>
inline void dot_quads(const std::uint8_t* block, const Row (&rows)[R], std::uint32_t first, std::uint32_t last,
                      __m256i (&dots)[R][2]) {
  const __m256i even = _mm256_set1_epi16(0xff);
  for (auto& halves : dots) halves[0] = halves[1] = _mm256_setzero_si256();
  for (std::uint32_t j = first; j < last; ++j) {
    const __m256i codes[2] = {load_bytes(block + j * 64), load_bytes(block + j * 64 + 32)};
    __m256i a[2], b[2];
    for (int h = 0; h < 2; ++h) {
      a[h] = _mm256_and_si256(codes[h], even);
      b[h] = _mm256_srli_epi16(codes[h], 8);
    }
    for (std::uint32_t r = 0; r < R; ++r) {
      const __m256i x = broadcast_pair(rows[r].words + j * 4), y = broadcast_pair(rows[r].words + j * 4 + 2);
      for (int h = 0; h < 2; ++h) {
        const __m256i products = _mm256_add_epi32(_mm256_madd_epi16(a[h], x), _mm256_madd_epi16(b[h], y));
        dots[r][h] = _mm256_add_epi32(dots[r][h], products);
      }
    }
  }
}

inline __m256 twice_and_bias(__m256i dot, std::int32_t bias) {
  return _mm256_cvtepi32_ps(_mm256_add_epi32(_mm256_add_epi32(dot, dot), _mm256_set1_epi32(bias)));
}

template <std::uint32_t R>
void score_rows(const CodeKeys& keys, const ByteCodes& codes, const float* q, Prefetcher& next, float* out) {
  constexpr std::uint32_t kSegmentQuads = kQuerySegment / kCodeQuad;
  QueryWords rows[R];
  for (std::uint32_t r = 0; r < R; ++r) query_words(keys, q + std::size_t{r} * keys.codes.depth, rows[r]);
  for (std::uint32_t t = 0; t < keys.codes.lanes; t += kCodeLanes) {
    const std::uint8_t* block = codes.bytes + std::size_t{t} * codes.quads * 4;
    for (std::uint32_t r = 0; r < R; ++r) {
      for (int h = 0; h < 2; ++h) _mm256_storeu_ps(out + r * kPageTokens + t + h * 8, _mm256_set1_ps(rows[r].base));
    }
    for (std::uint32_t s = 0; s * kSegmentQuads < codes.quads; ++s) {
      next.step();
      __m256i dots[R][2];
      dot_quads(block, rows, s * kSegmentQuads, smaller((s + 1) * kSegmentQuads, codes.quads), dots);
      for (int h = 0; h < 2; ++h) {
        const std::size_t scales_at = std::size_t{s} * keys.token_scale_stride + t + h * 8;
        const __m256 scale =
            keys.token_scale == nullptr ? _mm256_set1_ps(1.0f) : _mm256_loadu_ps(keys.token_scale + scales_at);
        for (std::uint32_t r = 0; r < R; ++r) {
          float* total = out + r * kPageTokens + t + h * 8;
          const __m256 x =
              _mm256_mul_ps(twice_and_bias(dots[r][h], rows[r].biases[s]), _mm256_set1_ps(rows[r].half_scales[s]));
          _mm256_storeu_ps(total, _mm256_fmadd_ps(x, scale, _mm256_loadu_ps(total)));
        }
      }
    }
  }
}

void code_scores(const CodeKeys& keys, const float* q, std::uint32_t rows, PrefetchHint next, float* out) {
  ByteCodes codes(keys.codes);
  expand_codes(keys.codes, codes);
  if (keys.codes.levels != nullptr) look_up_keys(keys.codes, codes);
  const std::size_t depth = keys.codes.depth;
  Prefetcher prefetcher(next, keys.codes.lanes / kCodeLanes * ((keys.codes.depth + kQuerySegment - 1) / kQuerySegment));
  std::uint32_t r = 0;
  for (; r + 4 <= rows; r += 4) score_rows<4>(keys, codes, q + r * depth, prefetcher, out + r * kPageTokens);
  for (; r < rows; ++r) score_rows<1>(keys, codes, q + r * depth, prefetcher, out + r * kPageTokens);
}

template <std::uint32_t R>
void accumulate_code_rows(const CodeValues& values, const ByteCodes& codes, const float* p, const float* correction,
                          Prefetcher& next, float* acc) {
  const std::uint32_t lanes = values.codes.lanes;
  WeightWords rows[R];
  for (std::uint32_t first = 0; first < lanes; first += kCodeLanes) {
    next.step();
    if (first % values.group == 0) {
      for (std::uint32_t r = 0; r < R; ++r) weight_words(values, first / values.group, p + r * kPageTokens, rows[r]);
    }
    __m256i dots[R][2];
    dot_quads(codes.bytes + std::size_t{first} * codes.quads * 4, rows, 0, values.codes.depth / kCodeQuad, dots);
    for (std::uint32_t d = first; d < smaller(lanes, first + kCodeLanes); d += 8) {
      for (std::uint32_t r = 0; r < R; ++r) {
        __m256 x = _mm256_fmadd_ps(twice_and_bias(dots[r][(d - first) / 8], rows[r].bias),
                                   _mm256_set1_ps(rows[r].half_scale), _mm256_set1_ps(rows[r].zero_term));
        if (values.channel_scale != nullptr) x = _mm256_mul_ps(x, _mm256_loadu_ps(values.channel_scale + d));
        float* sum = acc + std::size_t{r} * lanes + d;
        _mm256_storeu_ps(sum, _mm256_fmadd_ps(_mm256_loadu_ps(sum), _mm256_set1_ps(correction[r]), x));
      }
    }
  }
}

void code_accumulate(const CodeValues& values, const float* p, const float* correction, std::uint32_t rows,
                     PrefetchHint next, float* acc) {
  ByteCodes codes(values.codes);
  expand_codes(values.codes, codes);
  if (values.codes.levels != nullptr) look_up_values(values.codes, codes);
  const std::size_t lanes = values.codes.lanes;
  Prefetcher prefetcher(next, (values.codes.lanes + kCodeLanes - 1) / kCodeLanes);
  std::uint32_t r = 0;
  for (; r + 4 <= rows; r += 4)
    accumulate_code_rows<4>(values, codes, p + r * kPageTokens, correction + r, prefetcher, acc + r * lanes);
  for (; r < rows; ++r)
    accumulate_code_rows<1>(values, codes, p + r * kPageTokens, correction + r, prefetcher, acc + r * lanes);
}

}  // namespace
}  // namespace cairn
