// SPDX-License-Identifier: Apache-2.0
// Rows of queries rounded to integers, four at once, to the bits of the plain loops in code_rows-inl.h.
#pragma once

#include "cairn/kernels/avx512/fold-inl.h"
#include "cairn/kernels/code_rows-inl.h"

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
  const __m512 largest = _mm512_castsi512_ps(bits), most = _mm512_set1_ps(127.0f);
  const __m512 inverse = _mm512_maskz_div_ps(_mm512_test_epi32_mask(bits, bits), most, largest);
  const __m512 inverses[2] = {_mm512_permute_ps(inverse, 0x00), _mm512_permute_ps(inverse, 0xaa)};
  _mm512_store_ps(&to.scales[chunk][0][0][0], _mm512_div_ps(largest, most));
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

}  // namespace
}  // namespace cairn
