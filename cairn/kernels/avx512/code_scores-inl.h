// SPDX-License-Identifier: Apache-2.0
// Scores over integer codes: four query rows, rounded to the bits of the plain loops in code_rows-inl.h, and two blocks
// of 16 tokens at a time, eight independent sums.
#pragma once

#include <bit>

#include "cairn/kernels/avx512/code_vectors-inl.h"
#include "cairn/kernels/code_rows-inl.h"
#include "cairn/kernels/prefetch-inl.h"

namespace cairn {
namespace {

// Up to four rows, rounded as round_query does it. Two segments, 64 channels, are a chunk.
struct RoundedQueries {
  static constexpr std::uint32_t kChunk = 2 * kQuerySegment;
  float bases[4];
  // Twice half_scale and half the bias of a RoundedQuery, whose product with the dot product is the same, and exact up
  // to its one rounding. The two values of a segment are equal.
  alignas(64) float scales[kMaxChannels / kChunk][4][2][2];  // [chunk][row][segment][2]
  alignas(64) float biases[kMaxChannels / kChunk][4][2][2];
  alignas(64) std::int8_t codes[kMaxChannels / kChunk][4][kChunk];
};

// The definition, for rows that are not ordinary.
[[gnu::noinline]] void round_one_query(const CodeKeys& keys, const float* q, std::uint32_t r, RoundedQueries& to) {
  RoundedQuery query;
  round_query(keys, q, query);
  for (std::uint32_t s = 0; s * kQuerySegment < keys.codes.depth; ++s) {
    for (std::uint32_t i = 0; i < 2; ++i) {
      to.scales[s / 2][r][s % 2][i] = 2.0f * query.half_scales[s];
      to.biases[s / 2][r][s % 2][i] = 0.5f * static_cast<float>(query.biases[s]);
    }
    __builtin_memcpy(to.codes[s / 2][r] + s % 2 * kQuerySegment, query.codes + s * kQuerySegment, kQuerySegment);
  }
}

// False if the chunk has a row that is not ordinary.
template <std::uint32_t R>
inline bool round_chunk(const CodeKeys& keys, const float* q, std::uint32_t chunk, RoundedQueries& to) {
  const std::uint32_t depth = keys.codes.depth, first = chunk * RoundedQueries::kChunk;
  const std::uint64_t channels = first_bits(depth - first);
  const __m512i zero = _mm512_setzero_si512();
  __m512 folded[R][4];
#pragma GCC unroll 4
  for (std::uint32_t i = 0; i < 4; ++i) {
    const auto lanes = static_cast<__mmask16>(channels >> (i * 16));
    const __m512 scale = keys.channel_scale == nullptr
                             ? _mm512_set1_ps(1.0f)
                             : _mm512_maskz_loadu_ps(lanes, keys.channel_scale + first + i * 16);
#pragma GCC unroll 4
    for (std::uint32_t r = 0; r < R; ++r) {
      const float* from = q + std::size_t{r} * depth + first + i * 16;
      folded[r][i] = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, from), scale);
    }
  }
  __m512i rows[4] = {zero, zero, zero, zero};
#pragma GCC unroll 4
  for (std::uint32_t r = 0; r < R; ++r) {
    const auto magnitude = [&](int i) { return _mm512_castps_si512(_mm512_abs_ps(folded[r][i])); };
    const __m512i a = _mm512_max_epi32(magnitude(0), magnitude(1)), b = _mm512_max_epi32(magnitude(2), magnitude(3));
    rows[r] = _mm512_max_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
  }
  const __m512i bits = fold_pairs<MaxWords>(fold_rows<MaxWords>(rows));
  const __m512 largest = _mm512_castsi512_ps(bits), max_value = _mm512_set1_ps(127.0f);
  const __m512 inverse = _mm512_maskz_div_ps(_mm512_test_epi32_mask(bits, bits), max_value, largest);
  const __m512 inverses[2] = {_mm512_permute_ps(inverse, 0x00), _mm512_permute_ps(inverse, 0xaa)};
  _mm512_store_ps(&to.scales[chunk][0][0][0], _mm512_div_ps(largest, max_value));
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
#pragma GCC unroll 4
  for (std::uint32_t r = 0; r < R; ++r) {
    const __m512 by_segment[2] = {every_quad(inverses[0], r), every_quad(inverses[1], r)};
    const auto round = [&](int i) { return _mm512_cvtps_epi32(_mm512_mul_ps(folded[r][i], by_segment[i / 2])); };
    const __m512i low = _mm512_packs_epi32(round(0), round(1)), high = _mm512_packs_epi32(round(2), round(3));
    const __m512i bytes = _mm512_packs_epi16(low, high);  // quad L of all four vectors in 128-bit lane L
    _mm512_store_si512(to.codes[chunk][r], _mm512_permutexvar_epi32(order, bytes));
    rows[r] = _mm512_dpbusd_epi32(zero, _mm512_set1_epi8(1), bytes);
  }
  __m512 bias = _mm512_setzero_ps();
  if (keys.twice_middle != 0) {
    const __m512 sums = _mm512_cvtepi32_ps(fold_pairs<AddWords>(fold_rows<AddWords>(rows)));
    bias = _mm512_mul_ps(sums, _mm512_set1_ps(-0.5f * static_cast<float>(keys.twice_middle)));
  }
  _mm512_store_ps(&to.biases[chunk][0][0][0], bias);
  return ordinary(bits);
}

template <std::uint32_t R>
inline void offset_scores(const CodeKeys& keys, const float* q, RoundedQueries& to) {
  const std::uint32_t depth = keys.codes.depth;
  __m512 lanes[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
  for (std::uint32_t d = 0; d < depth; d += 16) {
    const auto some = static_cast<__mmask16>(first_bits(depth - d));
    const __m512 offset = _mm512_maskz_loadu_ps(some, keys.offset + d);
#pragma GCC unroll 4
    for (std::uint32_t r = 0; r < R; ++r) {
      const __m512 query = _mm512_maskz_loadu_ps(some, q + std::size_t{r} * depth + d);
      lanes[r] = _mm512_mask3_fmadd_ps(query, offset, lanes[r], some);
    }
  }
  const __m512i rows[4] = {_mm512_castps_si512(lanes[0]), _mm512_castps_si512(lanes[1]), _mm512_castps_si512(lanes[2]),
                           _mm512_castps_si512(lanes[3])};
  alignas(64) float sums[4][4];
  _mm512_store_si512(&sums[0][0], fold_pairs<AddFloats>(fold_halves<AddFloats>(fold_rows<AddFloats>(rows))));
#pragma GCC unroll 4
  for (std::uint32_t r = 0; r < R; ++r) to.bases[r] = sums[r][0];
}

template <std::uint32_t R>
inline void round_queries(const CodeKeys& keys, const float* q, RoundedQueries& to) {
  bool fine = true;
  for (std::uint32_t c = 0; c * RoundedQueries::kChunk < keys.codes.depth; ++c) fine &= round_chunk<R>(keys, q, c, to);
  if (!fine) {
    for (std::uint32_t r = 0; r < R; ++r) round_one_query(keys, q + std::size_t{r} * keys.codes.depth, r, to);
  }
  for (float& base : to.bases) base = 0.0f;
  if (keys.offset != nullptr) offset_scores<R>(keys, q, to);
}

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
  const auto are_read = [&](std::uint32_t block, std::uint32_t count) {
    const std::uint32_t all = (1u << count) - 1;
    return (keys.boxes >> block & all) == all;
  };
  for (std::uint32_t block = 0; block < blocks;) {
    if (R <= 2 && block + 4 <= blocks && are_read(block, 4)) {
      score_blocks<C, R, R <= 2 ? 4 : 1>(keys, queries, block, next, out);
      block += 4;
    } else if (block + 2 <= blocks && are_read(block, 2)) {
      score_blocks<C, R, 2>(keys, queries, block, next, out);
      block += 2;
    } else {
      if (are_read(block, 1)) score_blocks<C, R, 1>(keys, queries, block, next, out);
      ++block;
    }
  }
}

template <class C>
void score_codes(const CodeKeys& keys, const float* q, std::uint32_t rows, PrefetchHint next, float* out) {
  // The least number of steps: a pair of boxes takes as many as one.
  const auto boxes = static_cast<std::uint32_t>(std::popcount(keys.boxes));
  Prefetcher prefetcher(next, (keys.codes.depth + kQuerySegment - 1) / kQuerySegment * ((boxes + 1) / 2));
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
  if (keys.codes.shares != nullptr) {
    alignas(64) std::uint8_t bytes[kMaxCodes];
    CodeKeys expanded = keys;
    expanded.codes = expand_shared<Levels::kOfDepth>(keys.codes, keys.boxes, bytes);
    return score_codes<Codes<8, Levels::kNone>>(expanded, q, rows, next, out);
  }
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
