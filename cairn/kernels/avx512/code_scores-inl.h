// SPDX-License-Identifier: Apache-2.0
// Scores over integer codes: four query rows and two blocks of 16 tokens at a time, eight independent sums.
#pragma once

#include "cairn/kernels/avx512/code_vectors-inl.h"
#include "cairn/kernels/avx512/query_rows-inl.h"
#include "cairn/kernels/prefetch-inl.h"

namespace cairn {
namespace {

// What stands for scales that are not there.
struct Ones {
  alignas(64) float values[kPageTokens];
  constexpr Ones() : values() {
    for (float& value : values) value = 1.0f;
  }
};
inline constexpr Ones kOnes;

// B blocks of 16 tokens for R rows. Not inlined, and a segment without branches: all sums stay in registers.
template <class C, std::uint32_t R, std::uint32_t B>
[[gnu::noinline]] void score_blocks(const CodeKeys& keys, const RoundedQueries& queries, std::uint32_t block,
                                    Prefetcher& next, float* out) {
  constexpr std::uint32_t kSegmentVectors = kQuerySegment / C::kDepths;
  const std::uint32_t vectors = vectors_of(keys.codes), lane = block * kCodeLanes;
  const std::uint8_t* codes_at = keys.codes.codes + std::size_t{block} * vectors * 64;
  const float* token_scales = keys.token_scale == nullptr ? kOnes.values : keys.token_scale + lane;
  const std::size_t token_stride = keys.token_scale == nullptr ? 0 : keys.token_scale_stride;
  __m512 total[R][B];
#pragma GCC unroll 4
  for (std::uint32_t r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (std::uint32_t b = 0; b < B; ++b) total[r][b] = _mm512_set1_ps(queries.bases[r]);
  }
  const std::size_t block_stride = std::size_t{vectors} * 64;
  const std::uint8_t* levels = keys.codes.levels;
  for (std::uint32_t s = 0; s * kQuerySegment < keys.codes.depth; ++s) {
    next.step();
    const std::int8_t* query_at = queries.codes[s / 2][0] + s % 2 * kQuerySegment;
    __m512i dots[R][B];
#pragma GCC unroll 4
    for (std::uint32_t r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (std::uint32_t b = 0; b < B; ++b) dots[r][b] = _mm512_setzero_si512();
    }
    const auto add_vector = [&](std::uint32_t i) __attribute__((always_inline)) {
      __m512i packed[B];
#pragma GCC unroll 4
      for (std::uint32_t b = 0; b < B; ++b) packed[b] = _mm512_loadu_si512(codes_at + b * block_stride + i * 64);
#pragma GCC unroll 4
      for (std::uint32_t k = 0; k < C::kQuads; ++k) {
        const std::uint32_t quad = i * C::kQuads + k;
        LevelTables tables;
        if constexpr (C::kLevels != Levels::kNone) tables = depth_tables(levels + quad * 64);
        __m512i codes[B];
#pragma GCC unroll 4
        for (std::uint32_t b = 0; b < B; ++b) {
          codes[b] = unpack_quad<C::kBits>(packed[b], k);
          if constexpr (C::kLevels != Levels::kNone) codes[b] = look_up<C::kLevels>(tables, codes[b]);
        }
#pragma GCC unroll 4
        for (std::uint32_t r = 0; r < R; ++r) {
          const __m512i query = broadcast_word(query_at + r * RoundedQueries::kChunk + quad * kCodeQuad);
#pragma GCC unroll 4
          for (std::uint32_t b = 0; b < B; ++b) dots[r][b] = _mm512_dpbusd_epi32(dots[r][b], codes[b], query);
        }
      }
    };
    if (vectors - s * kSegmentVectors >= kSegmentVectors) {
#pragma GCC unroll 8
      for (std::uint32_t i = 0; i < kSegmentVectors; ++i) add_vector(i);
    } else {
#pragma GCC unroll 1
      for (std::uint32_t i = 0; i < vectors - s * kSegmentVectors; ++i) add_vector(i);
    }
    codes_at += kSegmentVectors * 64;
    if constexpr (C::kLevels != Levels::kNone) levels += kQuerySegment * 16;
#pragma GCC unroll 4
    for (std::uint32_t r = 0; r < R; ++r) {
      const __m512 bias = _mm512_set1_ps(queries.biases[s / 2][r][s % 2][0]);
      const __m512 scale = _mm512_set1_ps(queries.scales[s / 2][r][s % 2][0]);
#pragma GCC unroll 4
      for (std::uint32_t b = 0; b < B; ++b) {
        const __m512 x = _mm512_mul_ps(_mm512_add_ps(_mm512_cvtepi32_ps(dots[r][b]), bias), scale);
        total[r][b] = _mm512_fmadd_ps(x, _mm512_loadu_ps(token_scales + b * kCodeLanes), total[r][b]);
      }
    }
    token_scales += token_stride;
  }
#pragma GCC unroll 4
  for (std::uint32_t r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (std::uint32_t b = 0; b < B; ++b) _mm512_storeu_ps(out + r * kPageTokens + lane + b * kCodeLanes, total[r][b]);
  }
}

template <class C, std::uint32_t R>
void score_rows(const CodeKeys& keys, const float* q, Prefetcher& next, float* out) {
  RoundedQueries queries;
  round_queries<R>(keys, q, queries);
  const std::uint32_t blocks = keys.codes.lanes / kCodeLanes;
  std::uint32_t block = 0;
  if constexpr (R <= 2) {
    for (; block + 4 <= blocks; block += 4) score_blocks<C, R, 4>(keys, queries, block, next, out);
  }
  for (; block + 2 <= blocks; block += 2) score_blocks<C, R, 2>(keys, queries, block, next, out);
  if (block < blocks) score_blocks<C, R, 1>(keys, queries, block, next, out);
}

template <class C>
void score_codes(const CodeKeys& keys, const float* q, std::uint32_t rows, PrefetchHint next, float* out) {
  Prefetcher prefetcher(next, (keys.codes.depth + kQuerySegment - 1) / kQuerySegment * ((keys.codes.lanes + 31) / 32));
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

void code_scores(const CodeKeys& keys, const float* q, std::uint32_t rows, PrefetchHint next, float* out) {
  with_codes<Levels::kOfDepth>(keys.codes, [&]<class C>() {
    if constexpr (C::kLevels != Levels::kNone) {
      if (rows > 4) {
        alignas(64) std::uint8_t bytes[kMaxCodes];
        CodeKeys expanded = keys;
        expanded.codes = expand<C::kLevels>(keys.codes, bytes);
        return score_codes<Codes<8, Levels::kNone>>(expanded, q, rows, next, out);
      }
    }
    score_codes<C>(keys, q, rows, next, out);
  });
}

}  // namespace
}  // namespace cairn
