// SPDX-License-Identifier: Apache-2.0
// Weighted values over integer codes: four rows of weights and two blocks of 16 channels at a time. Weights are rounded
// to 15 bits, to the bits of the plain loops in code_rows-inl.h, and meet codes that are widened to words: two planes
// of signed bytes would need as many products and sums besides.
#pragma once

#include "cairn/kernels/avx512/code_vectors-inl.h"
#include "cairn/kernels/code_rows-inl.h"
#include "cairn/kernels/prefetch-inl.h"

namespace cairn {
namespace {

// Up to four rows for one group of channels, rounded as round_weights does it. The four values of a row are equal.
struct RoundedWeightRows {
  alignas(64) float half_scales[4][4];
  alignas(64) float zero_terms[4][4];
  alignas(64) std::int32_t biases[4][4];
  alignas(64) std::int16_t codes[4][kPageTokens];  // each quad of tokens as 0, 2, 1, 3
};

// The low words of 32 lanes with tokens 1 and 2 of each quad exchanged.
inline __m512i quad_words(__m512i a, __m512i b) {
  alignas(64) static constexpr std::uint16_t kPlaces[32] = {0,  4,  2,  6,  8,  12, 10, 14, 16, 20, 18,
                                                            22, 24, 28, 26, 30, 32, 36, 34, 38, 40, 44,
                                                            42, 46, 48, 52, 50, 54, 56, 60, 58, 62};
  return _mm512_permutex2var_epi16(a, _mm512_load_si512(kPlaces), b);
}

// The definition, for rows that are not ordinary.
[[gnu::noinline]] void round_one_weight_row(const CodeValues& values, std::uint32_t group, const float* p,
                                            std::uint32_t r, RoundedWeightRows& to) {
  RoundedWeights weights;
  round_weights(values, group, p, weights);
  to.half_scales[r][0] = weights.half_scale;
  to.biases[r][0] = weights.bias;
  for (std::uint32_t t = 0; t < kPageTokens; ++t)
    to.codes[r][t] = weights.codes[t / 4 * 4 + (t % 4 == 1 ? 2 : t % 4 == 2 ? 1 : t % 4)];
}

template <std::uint32_t R>
inline void round_weight_rows(const CodeValues& values, const float* p, std::uint32_t group, RoundedWeightRows& to) {
  const std::uint32_t depth = values.codes.depth;
  const float* scales = values.token_scale + std::size_t{group} * depth;
  const __m512i zero = _mm512_setzero_si512();
  __mmask16 lanes[4];
  __m512 folded[R][4];
#pragma GCC unroll 4
  for (std::uint32_t i = 0; i < 4; ++i) {
    lanes[i] = static_cast<__mmask16>(first_bits(depth) >> (i * 16));
    const __m512 scale = _mm512_maskz_loadu_ps(lanes[i], scales + i * 16);
#pragma GCC unroll 4
    for (std::uint32_t r = 0; r < R; ++r) {
      folded[r][i] = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes[i], p + r * kPageTokens + i * 16), scale);
    }
  }
  __m512i rows[4] = {zero, zero, zero, zero};
#pragma GCC unroll 4
  for (std::uint32_t r = 0; r < R; ++r) {
    const auto bits = [&](int i) { return _mm512_castps_si512(folded[r][i]); };
    rows[r] = _mm512_max_epi32(_mm512_max_epi32(bits(0), bits(1)), _mm512_max_epi32(bits(2), bits(3)));
  }
  // As integers, -0 would be the smallest of all.
  const __m512i bits = _mm512_max_epi32(fold_pairs<MaxWords>(fold_halves<MaxWords>(fold_rows<MaxWords>(rows))), zero);
  const __m512 largest = _mm512_castsi512_ps(bits), max_value = _mm512_set1_ps(kMaxWeight);
  const __m512 inverses = _mm512_maskz_div_ps(_mm512_test_epi32_mask(bits, bits), max_value, largest);
  _mm512_store_ps(&to.half_scales[0][0], _mm512_mul_ps(_mm512_set1_ps(0.5f), _mm512_div_ps(largest, max_value)));
#pragma GCC unroll 4
  for (std::uint32_t r = 0; r < R; ++r) {
    const __m512 inverse = every_quad(inverses, r);
    const auto round = [&](int i) { return _mm512_cvtps_epi32(_mm512_mul_ps(folded[r][i], inverse)); };
    const __m512i a = round(0), b = round(1), c = round(2), d = round(3);
    _mm512_store_si512(to.codes[r], quad_words(a, b));
    _mm512_store_si512(to.codes[r] + 32, quad_words(c, d));
    rows[r] = _mm512_add_epi32(_mm512_add_epi32(a, b), _mm512_add_epi32(c, d));
  }
  __m512i bias = zero;
  if (values.twice_middle != 0) {
    const __m512i sums = fold_pairs<AddWords>(fold_halves<AddWords>(fold_rows<AddWords>(rows)));
    bias = _mm512_mullo_epi32(sums, _mm512_set1_epi32(-values.twice_middle));
  }
  _mm512_store_si512(&to.biases[0][0], bias);
  if (!ordinary(bits)) {
    for (std::uint32_t r = 0; r < R; ++r) round_one_weight_row(values, group, p + r * kPageTokens, r, to);
  }
  if (values.token_offset == nullptr) {
    _mm512_store_si512(&to.zero_terms[0][0], zero);
    return;
  }
  const float* offsets = values.token_offset + std::size_t{group} * depth;
#pragma GCC unroll 4
  for (std::uint32_t r = 0; r < R; ++r) {
    __m512 term = _mm512_setzero_ps();
#pragma GCC unroll 4
    for (std::uint32_t i = 0; i < 4; ++i) {
      term = _mm512_mask3_fmadd_ps(_mm512_maskz_loadu_ps(lanes[i], p + r * kPageTokens + i * 16),
                                   _mm512_maskz_loadu_ps(lanes[i], offsets + i * 16), term, lanes[i]);
    }
    rows[r] = _mm512_castps_si512(term);
  }
  _mm512_store_si512(&to.zero_terms[0][0], fold_pairs<AddFloats>(fold_halves<AddFloats>(fold_rows<AddFloats>(rows))));
}

// B blocks of 16 channels, of one group, for R rows.
template <class C, std::uint32_t R, std::uint32_t B>
[[gnu::noinline]] void accumulate_blocks(const CodeValues& values, const RoundedWeightRows& weights,
                                         std::uint32_t block, const float* correction, Prefetcher& next, float* acc) {
  const CodeMatrix& m = values.codes;
  const std::uint32_t vectors = vectors_of(m), lane = block * kCodeLanes;
  const std::uint8_t* at = m.codes + std::size_t{block} * vectors * 64;
  LevelTables tables[B];
  if constexpr (C::kLevels != Levels::kNone) {
#pragma GCC unroll 2
    for (std::uint32_t b = 0; b < B; ++b) tables[b] = lane_tables(m.levels + std::size_t{lane + b * kCodeLanes} * 16);
  }
  __m512i dots[R][B];
#pragma GCC unroll 4
  for (std::uint32_t r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (std::uint32_t b = 0; b < B; ++b) dots[r][b] = _mm512_setzero_si512();
  }
  for (std::uint32_t v = 0; v < vectors; ++v) {
    next.step();
    if ((values.boxes >> v * C::kDepths / kPageBoxTokens & 1) == 0) continue;
    __m512i packed[B];
#pragma GCC unroll 2
    for (std::uint32_t b = 0; b < B; ++b) packed[b] = _mm512_loadu_si512(at + (std::size_t{b} * vectors + v) * 64);
#pragma GCC unroll 4
    for (std::uint32_t k = 0; k < C::kQuads; ++k) {
      const std::int16_t* words = weights.codes[0] + v * C::kDepths + k * kCodeQuad;
      __m512i codes[2][B];
#pragma GCC unroll 2
      for (std::uint32_t b = 0; b < B; ++b) {
        if constexpr (C::kLevels == Levels::kNone) {
          codes[0][b] = unpack_words<C::kBits>(packed[b], k, 0);
          codes[1][b] = unpack_words<C::kBits>(packed[b], k, 1);
        } else {
          const __m512i levels = look_up<C::kLevels>(tables[b], unpack_quad<C::kBits>(packed[b], k));
          codes[0][b] = unpack_words<8>(levels, 0, 0);
          codes[1][b] = unpack_words<8>(levels, 0, 1);
        }
      }
#pragma GCC unroll 2
      for (std::uint32_t half = 0; half < 2; ++half) {
#pragma GCC unroll 4
        for (std::uint32_t r = 0; r < R; ++r) {
          const __m512i pair = broadcast_word(words + r * kPageTokens + half * 2);
#pragma GCC unroll 2
          for (std::uint32_t b = 0; b < B; ++b) dots[r][b] = _mm512_dpwssd_epi32(dots[r][b], codes[half][b], pair);
        }
      }
    }
  }
#pragma GCC unroll 2
  for (std::uint32_t b = 0; b < B; ++b) {
    const std::uint32_t d = lane + b * kCodeLanes;
    const auto lanes = static_cast<__mmask16>(first_bits(m.lanes - d));
    const __m512 scale =
        values.channel_scale == nullptr ? _mm512_set1_ps(1.0f) : _mm512_maskz_loadu_ps(lanes, values.channel_scale + d);
#pragma GCC unroll 4
    for (std::uint32_t r = 0; r < R; ++r) {
      const __m512i twice = _mm512_add_epi32(dots[r][b], dots[r][b]);
      const __m512i n = _mm512_add_epi32(twice, _mm512_set1_epi32(weights.biases[r][0]));
      const __m512 x = _mm512_fmadd_ps(_mm512_cvtepi32_ps(n), _mm512_set1_ps(weights.half_scales[r][0]),
                                       _mm512_set1_ps(weights.zero_terms[r][0]));
      float* sum = acc + std::size_t{r} * m.lanes + d;
      const __m512 earlier = _mm512_maskz_loadu_ps(lanes, sum);
      _mm512_mask_storeu_ps(sum, lanes,
                            _mm512_fmadd_ps(earlier, _mm512_set1_ps(correction[r]), _mm512_mul_ps(x, scale)));
    }
  }
}

template <class C, std::uint32_t R>
void accumulate_code_rows(const CodeValues& values, const float* p, const float* correction, Prefetcher& next,
                          float* acc) {
  const std::uint32_t blocks = (values.codes.lanes + kCodeLanes - 1) / kCodeLanes;
  const std::uint32_t group_blocks = values.group / kCodeLanes;
  RoundedWeightRows weights;
  for (std::uint32_t block = 0, group = 0; block < blocks; ++group) {
    round_weight_rows<R>(values, p, group, weights);
    const std::uint32_t end = blocks - block < group_blocks ? blocks : block + group_blocks;
    for (; block + 2 <= end; block += 2) accumulate_blocks<C, R, 2>(values, weights, block, correction, next, acc);
    for (; block < end; ++block) accumulate_blocks<C, R, 1>(values, weights, block, correction, next, acc);
  }
}

template <class C>
void accumulate_codes(const CodeValues& values, const float* p, const float* correction, std::uint32_t rows,
                      PrefetchHint next, float* acc) {
  Prefetcher prefetcher(next, vectors_of(values.codes) * ((values.codes.lanes + 31) / 32));
  const std::size_t lanes = values.codes.lanes;
  const auto visit = [&]<std::uint32_t R>(std::uint32_t r) {
    accumulate_code_rows<C, R>(values, p + r * kPageTokens, correction + r, prefetcher, acc + r * lanes);
  };
  std::uint32_t r = 0;
  for (; r + 4 <= rows; r += 4) visit.template operator()<4>(r);
  switch (rows - r) {
    case 3: return visit.template operator()<3>(r);
    case 2: return visit.template operator()<2>(r);
    case 1: return visit.template operator()<1>(r);
    default: return;
  }
}

void code_accumulate(const CodeValues& values, const float* p, const float* correction, std::uint32_t rows,
                     PrefetchHint next, float* acc) {
  if (values.codes.shares != nullptr) {
    alignas(64) std::uint8_t bytes[kMaxCodes];
    CodeValues expanded = values;
    expanded.codes = expand_shared<Levels::kOfLane>(values.codes, values.boxes, bytes);
    return accumulate_codes<Codes<8, Levels::kNone>>(expanded, p, correction, rows, next, acc);
  }
  with_codes<Levels::kOfLane>(values.codes, [&]<class C>() {
    if constexpr (C::kLevels != Levels::kNone) {
      if (rows > 4) {
        alignas(64) std::uint8_t bytes[kMaxCodes];
        CodeValues expanded = values;
        expanded.codes = expand<C::kLevels>(values.codes, bytes);
        return accumulate_codes<Codes<8, Levels::kNone>>(expanded, p, correction, rows, next, acc);
      }
    }
    accumulate_codes<C>(values, p, correction, rows, next, acc);
  });
}

}  // namespace
}  // namespace cairn
