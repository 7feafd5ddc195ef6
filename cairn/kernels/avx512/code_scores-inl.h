// SPDX-License-Identifier: Apache-2.0
// Scores over integer codes: four query rows and two blocks of 16 tokens at a time, eight independent sums.
#pragma once

#include "cairn/kernels/avx512/code_vectors-inl.h"
#include "cairn/kernels/avx512/fold-inl.h"
#include "cairn/kernels/code_rows-inl.h"
#include "cairn/kernels/prefetch-inl.h"

namespace cairn {
namespace {

inline __mmask16 first_lanes(std::uint32_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xffffu : (1u << count) - 1);
}

template <class T>
inline __m512i broadcast_word(const T* p) {
  std::int32_t word;
  __builtin_memcpy(&word, p, sizeof(word));
  return _mm512_set1_epi32(word);
}

inline __m512 twice_and_bias(__m512i dot, std::int32_t bias) {
  return _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_add_epi32(dot, dot), _mm512_set1_epi32(bias)));
}

// Up to four rows rounded as round_query does it. Segments go in fours: entry [s / 4][r][s % 4] is of row r, segment s.
struct RoundedQueries {
  alignas(64) float half_scales[kMostSegments / 4][4][4];
  alignas(64) std::int32_t biases[kMostSegments / 4][4][4];
  alignas(64) float bases[4][4];  // [r][0]
  alignas(64) std::int8_t codes[4][kMostChannels];
};

template <std::uint32_t R>
void round_queries(const CodeKeys& keys, const float* q, RoundedQueries& to) {
  const std::uint32_t depth = keys.codes.depth;
  const auto load = [&](std::uint32_t r, std::uint32_t d) {
    const __mmask16 lanes = first_lanes(depth - d);
    const __m512 values = _mm512_maskz_loadu_ps(lanes, q + std::size_t{r} * depth + d);
    return keys.channel_scale == nullptr
               ? values
               : _mm512_maskz_mul_ps(lanes, values, _mm512_maskz_loadu_ps(lanes, keys.channel_scale + d));
  };
  for (std::uint32_t first = 0; first < depth; first += 4 * kQuerySegment) {
    __m512 folded[4];
#pragma GCC unroll 4
    for (std::uint32_t m = 0; m < 4; ++m) {
      __m512 largest[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
      const std::uint32_t d = first + m * kQuerySegment;
      if (d < depth) {
#pragma GCC unroll 4
        for (std::uint32_t r = 0; r < R; ++r) {
          // The operand order keeps NaN out of the maximum.
          largest[r] = _mm512_max_ps(_mm512_abs_ps(load(r, d)), _mm512_setzero_ps());
          if (d + 16 < depth) largest[r] = _mm512_max_ps(_mm512_abs_ps(load(r, d + 16)), largest[r]);
        }
      }
      folded[m] = fold_rows<MaxLanes>(largest);
    }
    const __m512 largest = fold_quads<MaxLanes>(folded);
    const __mmask16 positive = _mm512_cmp_ps_mask(largest, _mm512_setzero_ps(), _CMP_GT_OQ);
    alignas(64) float inverses[4][4];
    _mm512_store_ps(&inverses[0][0], _mm512_maskz_div_ps(positive, _mm512_set1_ps(127.0f), largest));
    const std::uint32_t at = first / (4 * kQuerySegment);
    _mm512_store_ps(&to.half_scales[at][0][0],
                    _mm512_mul_ps(_mm512_set1_ps(0.5f), _mm512_div_ps(largest, _mm512_set1_ps(127.0f))));
#pragma GCC unroll 4
    for (std::uint32_t m = 0; m < 4; ++m) {
      __m512 sums[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
      const std::uint32_t d = first + m * kQuerySegment;
      if (d < depth) {
#pragma GCC unroll 4
        for (std::uint32_t r = 0; r < R; ++r) {
          const auto round = [&](std::uint32_t from) {
            if (from >= depth) return _mm512_setzero_si512();
            const __m512 v = _mm512_mul_ps(load(r, from), _mm512_set1_ps(inverses[r][m]));
            const __m512 held = _mm512_min_ps(_mm512_max_ps(v, _mm512_set1_ps(-127.0f)), _mm512_set1_ps(127.0f));
            return _mm512_maskz_cvtps_epi32(first_lanes(depth - from), held);
          };
          const __m512i a = round(d), b = round(d + 16);
          auto* codes = reinterpret_cast<__m128i*>(to.codes[r] + d);
          _mm_store_si128(codes, _mm512_cvtepi32_epi8(a));
          _mm_store_si128(codes + 1, _mm512_cvtepi32_epi8(b));
          sums[r] = _mm512_castsi512_ps(_mm512_add_epi32(a, b));
        }
      }
      folded[m] = fold_rows<AddWords>(sums);
    }
    _mm512_store_si512(&to.biases[at][0][0], _mm512_mullo_epi32(_mm512_castps_si512(fold_quads<AddWords>(folded)),
                                                                _mm512_set1_epi32(-keys.twice_middle)));
  }
  __m512 bases[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
  for (std::uint32_t d = 0; keys.offset != nullptr && d < depth; d += 16) {
    const __mmask16 lanes = first_lanes(depth - d);
    const __m512 offset = _mm512_maskz_loadu_ps(lanes, keys.offset + d);
#pragma GCC unroll 4
    for (std::uint32_t r = 0; r < R; ++r) {
      bases[r] =
          _mm512_mask3_fmadd_ps(_mm512_maskz_loadu_ps(lanes, q + std::size_t{r} * depth + d), offset, bases[r], lanes);
    }
  }
  const __m512 zero = _mm512_setzero_ps();
  const __m512 rows[4] = {fold_rows<AddLanes>(bases), zero, zero, zero};
  _mm512_store_ps(&to.bases[0][0], fold_quads<AddLanes>(rows));
}

// B blocks of 16 tokens for R rows.
template <class C, std::uint32_t R, std::uint32_t B>
void score_blocks(const CodeKeys& keys, const RoundedQueries& queries, std::uint32_t block, Prefetcher& next,
                  float* out) {
  const std::uint32_t vectors = vectors_of(keys.codes), lane = block * kCodeLanes;
  const std::uint8_t* at = keys.codes.codes + std::size_t{block} * vectors * 64;
  __m512 total[R][B];
#pragma GCC unroll 4
  for (std::uint32_t r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (std::uint32_t b = 0; b < B; ++b) total[r][b] = _mm512_set1_ps(queries.bases[r][0]);
  }
  for (std::uint32_t s = 0; s * kQuerySegment < keys.codes.depth; ++s) {
    __m512i dots[R][B];
#pragma GCC unroll 4
    for (std::uint32_t r = 0; r < R; ++r) {
#pragma GCC unroll 2
      for (std::uint32_t b = 0; b < B; ++b) dots[r][b] = _mm512_setzero_si512();
    }
    constexpr std::uint32_t kSegmentVectors = kQuerySegment / C::kDepths;
    const std::uint32_t end = (s + 1) * kSegmentVectors < vectors ? (s + 1) * kSegmentVectors : vectors;
    for (std::uint32_t v = s * kSegmentVectors; v < end; ++v) {
      next.step();
      __m512i packed[B];
#pragma GCC unroll 2
      for (std::uint32_t b = 0; b < B; ++b) packed[b] = _mm512_loadu_si512(at + (std::size_t{b} * vectors + v) * 64);
#pragma GCC unroll 4
      for (std::uint32_t k = 0; k < C::kQuads; ++k) {
        const std::uint32_t d = v * C::kDepths + k * kCodeQuad;
        LevelTables tables;
        if constexpr (C::kLevels != Levels::kNone) tables = depth_tables(keys.codes.levels + std::size_t{d} * 16);
        __m512i codes[B];
#pragma GCC unroll 2
        for (std::uint32_t b = 0; b < B; ++b) {
          codes[b] = unpack_quad<C::kBits>(packed[b], k);
          if constexpr (C::kLevels != Levels::kNone) codes[b] = look_up<C::kLevels>(tables, codes[b]);
        }
#pragma GCC unroll 4
        for (std::uint32_t r = 0; r < R; ++r) {
          const __m512i query = broadcast_word(queries.codes[r] + d);
#pragma GCC unroll 2
          for (std::uint32_t b = 0; b < B; ++b) dots[r][b] = _mm512_dpbusd_epi32(dots[r][b], codes[b], query);
        }
      }
    }
#pragma GCC unroll 2
    for (std::uint32_t b = 0; b < B; ++b) {
      const std::size_t scales_at = std::size_t{s} * keys.token_scale_stride + lane + b * kCodeLanes;
      const __m512 scale =
          keys.token_scale == nullptr ? _mm512_set1_ps(1.0f) : _mm512_loadu_ps(keys.token_scale + scales_at);
#pragma GCC unroll 4
      for (std::uint32_t r = 0; r < R; ++r) {
        const __m512 x = _mm512_mul_ps(twice_and_bias(dots[r][b], queries.biases[s / 4][r][s % 4]),
                                       _mm512_set1_ps(queries.half_scales[s / 4][r][s % 4]));
        total[r][b] = _mm512_fmadd_ps(x, scale, total[r][b]);
      }
    }
  }
#pragma GCC unroll 4
  for (std::uint32_t r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (std::uint32_t b = 0; b < B; ++b) _mm512_storeu_ps(out + r * kPageTokens + lane + b * kCodeLanes, total[r][b]);
  }
}

template <class C, std::uint32_t R>
void score_rows(const CodeKeys& keys, const float* q, Prefetcher& next, float* out) {
  RoundedQueries queries;
  round_queries<R>(keys, q, queries);
  const std::uint32_t blocks = keys.codes.lanes / kCodeLanes;
  std::uint32_t block = 0;
  for (; block + 2 <= blocks; block += 2) score_blocks<C, R, 2>(keys, queries, block, next, out);
  if (block < blocks) score_blocks<C, R, 1>(keys, queries, block, next, out);
}

template <class C>
void score_codes(const CodeKeys& keys, const float* q, std::uint32_t rows, Upcoming next, float* out) {
  Prefetcher prefetcher(next, vectors_of(keys.codes) * ((keys.codes.lanes + 31) / 32));
  const std::size_t depth = keys.codes.depth;
  std::uint32_t r = 0;
  for (; r + 4 <= rows; r += 4) score_rows<C, 4>(keys, q + r * depth, prefetcher, out + r * kPageTokens);
  switch (rows - r) {
    case 3: return score_rows<C, 3>(keys, q + r * depth, prefetcher, out + r * kPageTokens);
    case 2: return score_rows<C, 2>(keys, q + r * depth, prefetcher, out + r * kPageTokens);
    case 1: return score_rows<C, 1>(keys, q + r * depth, prefetcher, out + r * kPageTokens);
    default: return;
  }
}

void code_scores(const CodeKeys& keys, const float* q, std::uint32_t rows, Upcoming next, float* out) {
  with_codes<Levels::kOfDepth>(keys.codes, [&]<class C>() {
    if (rows <= 4 || C::kBits == 8) return score_codes<C>(keys, q, rows, next, out);
    alignas(64) std::uint8_t bytes[kMostCodes];
    CodeKeys expanded = keys;
    expanded.codes = expand<C>(keys.codes, bytes);
    score_codes<Codes<8, Levels::kNone>>(expanded, q, rows, next, out);
  });
}

}  // namespace
}  // namespace cairn
