// SPDX-License-Identifier: Apache-2.0
// Weighted values over integer codes: four rows of weights and two blocks of 16 channels at a time. Weights of 15 bits
// meet codes that are widened to words: two planes of signed bytes would need as many products and sums besides.
#pragma once

#include "cairn/kernels/avx512/code_scores-inl.h"

namespace cairn {
namespace {

// Up to four rows for up to four groups of channels, rounded as round_weights does it.
struct RoundedWeightRows {
  alignas(64) float half_scales[4][4];  // [r][group]
  alignas(64) float zero_terms[4][4];
  alignas(64) std::int32_t biases[4][4];
  alignas(64) std::int16_t codes[4][4][kPageTokens];  // [group][r], each quad of tokens as 0, 2, 1, 3
};

// The low words of 32 lanes with tokens 1 and 2 of each quad exchanged.
inline __m512i quad_words(__m512i a, __m512i b) {
  alignas(64) static constexpr std::uint16_t kPlaces[32] = {0,  4,  2,  6,  8,  12, 10, 14, 16, 20, 18,
                                                            22, 24, 28, 26, 30, 32, 36, 34, 38, 40, 44,
                                                            42, 46, 48, 52, 50, 54, 56, 60, 58, 62};
  return _mm512_permutex2var_epi16(a, _mm512_load_si512(kPlaces), b);
}

template <std::uint32_t R>
void round_weight_rows(const CodeValues& values, const float* p, std::uint32_t first_group, std::uint32_t groups,
                       RoundedWeightRows& to) {
  const std::uint32_t depth = values.codes.depth;
  const auto lanes = [&](int i) { return first_lanes(depth - i * 16 > depth ? 0 : depth - i * 16); };
  const auto load = [&](const float* x, int i) { return _mm512_maskz_loadu_ps(lanes(i), x + i * 16); };
  const auto folded = [&](std::uint32_t r, std::uint32_t g, int i) {
    const float* scales = values.token_scale + std::size_t{first_group + g} * depth;
    return _mm512_maskz_mul_ps(lanes(i), load(p + r * kPageTokens, i), load(scales, i));
  };
  const __m512 zero = _mm512_setzero_ps();
  __m512 by_group[4];
#pragma GCC unroll 4
  for (std::uint32_t g = 0; g < 4; ++g) {
    __m512 largest[4] = {zero, zero, zero, zero};
    if (g < groups) {
#pragma GCC unroll 4
      for (std::uint32_t r = 0; r < R; ++r) {
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) largest[r] = _mm512_max_ps(_mm512_abs_ps(folded(r, g, i)), largest[r]);
      }
    }
    by_group[g] = fold_rows<MaxLanes>(largest);
  }
  const __m512 largest = fold_quads<MaxLanes>(by_group);
  const __m512 most = _mm512_set1_ps(kMostWeight);
  alignas(64) float inverses[4][4];
  _mm512_store_ps(&inverses[0][0], _mm512_maskz_div_ps(_mm512_cmp_ps_mask(largest, zero, _CMP_GT_OQ), most, largest));
  _mm512_store_ps(&to.half_scales[0][0], _mm512_mul_ps(_mm512_set1_ps(0.5f), _mm512_div_ps(largest, most)));
  __m512 zeros_by_group[4];
#pragma GCC unroll 4
  for (std::uint32_t g = 0; g < 4; ++g) {
    __m512 sums[4] = {zero, zero, zero, zero}, zero_terms[4] = {zero, zero, zero, zero};
    if (g < groups) {
#pragma GCC unroll 4
      for (std::uint32_t r = 0; r < R; ++r) {
        __m512i v[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
          const __m512 scaled = _mm512_mul_ps(folded(r, g, i), _mm512_set1_ps(inverses[r][g]));
          v[i] = _mm512_maskz_cvtps_epi32(lanes(i), _mm512_min_ps(scaled, most));
        }
        _mm512_store_si512(to.codes[g][r], quad_words(v[0], v[1]));
        _mm512_store_si512(to.codes[g][r] + 32, quad_words(v[2], v[3]));
        sums[r] = _mm512_castsi512_ps(_mm512_add_epi32(_mm512_add_epi32(v[0], v[1]), _mm512_add_epi32(v[2], v[3])));
        if (values.token_offset != nullptr) {
          const float* offsets = values.token_offset + std::size_t{first_group + g} * depth;
#pragma GCC unroll 4
          for (int i = 0; i < 4; ++i) {
            zero_terms[r] =
                _mm512_mask3_fmadd_ps(load(p + r * kPageTokens, i), load(offsets, i), zero_terms[r], lanes(i));
          }
        }
      }
    }
    by_group[g] = fold_rows<AddWords>(sums);
    zeros_by_group[g] = fold_rows<AddLanes>(zero_terms);
  }
  _mm512_store_si512(&to.biases[0][0], _mm512_mullo_epi32(_mm512_castps_si512(fold_quads<AddWords>(by_group)),
                                                          _mm512_set1_epi32(-values.twice_middle)));
  _mm512_store_ps(&to.zero_terms[0][0], fold_quads<AddLanes>(zeros_by_group));
}

// B blocks of 16 channels, of one group, for R rows.
template <class C, std::uint32_t R, std::uint32_t B>
void accumulate_blocks(const CodeValues& values, const RoundedWeightRows& weights, std::uint32_t g, std::uint32_t block,
                       const float* correction, Prefetcher& next, float* acc) {
  const CodeMatrix& m = values.codes;
  const std::uint32_t vectors = vectors_of(m), lane = block * kCodeLanes;
  const std::uint8_t* at = m.codes + std::size_t{block} * vectors * 64;
  const __m512i even = _mm512_set1_epi16(0xff);
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
    __m512i packed[B];
#pragma GCC unroll 2
    for (std::uint32_t b = 0; b < B; ++b) packed[b] = _mm512_loadu_si512(at + (std::size_t{b} * vectors + v) * 64);
#pragma GCC unroll 4
    for (std::uint32_t k = 0; k < C::kQuads; ++k) {
      const std::int16_t* words = weights.codes[g][0] + v * C::kDepths + k * kCodeQuad;
      __m512i codes[2][B];
#pragma GCC unroll 2
      for (std::uint32_t b = 0; b < B; ++b) {
        __m512i bytes = unpack_quad<C::kBits>(packed[b], k);
        if constexpr (C::kLevels != Levels::kNone) bytes = look_up<C::kLevels>(tables[b], bytes);
        codes[0][b] = _mm512_and_si512(bytes, even);
        codes[1][b] = _mm512_srli_epi16(bytes, 8);
      }
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
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
    const __mmask16 lanes = first_lanes(m.lanes - d);
    const __m512 scale =
        values.channel_scale == nullptr ? _mm512_set1_ps(1.0f) : _mm512_maskz_loadu_ps(lanes, values.channel_scale + d);
#pragma GCC unroll 4
    for (std::uint32_t r = 0; r < R; ++r) {
      const __m512 x =
          _mm512_fmadd_ps(twice_and_bias(dots[r][b], weights.biases[r][g]), _mm512_set1_ps(weights.half_scales[r][g]),
                          _mm512_set1_ps(weights.zero_terms[r][g]));
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
  const std::uint32_t lanes = values.codes.lanes, group_blocks = values.group / kCodeLanes;
  const std::uint32_t blocks = (lanes + kCodeLanes - 1) / kCodeLanes;
  const std::uint32_t groups = (blocks + group_blocks - 1) / group_blocks;
  RoundedWeightRows weights;
  for (std::uint32_t first = 0; first < groups; first += 4) {
    const std::uint32_t some = groups - first < 4 ? groups - first : 4;
    round_weight_rows<R>(values, p, first, some, weights);
    for (std::uint32_t g = 0; g < some; ++g) {
      std::uint32_t block = (first + g) * group_blocks;
      const std::uint32_t end = blocks - block < group_blocks ? blocks : block + group_blocks;
      for (; block + 2 <= end; block += 2) accumulate_blocks<C, R, 2>(values, weights, g, block, correction, next, acc);
      if (block < end) accumulate_blocks<C, R, 1>(values, weights, g, block, correction, next, acc);
    }
  }
}

template <class C>
void accumulate_codes(const CodeValues& values, const float* p, const float* correction, std::uint32_t rows,
                      Upcoming next, float* acc) {
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
                     Upcoming next, float* acc) {
  with_codes<Levels::kOfLane>(values.codes, [&]<class C>() {
    if (rows <= 4 || C::kBits == 8) return accumulate_codes<C>(values, p, correction, rows, next, acc);
    alignas(64) std::uint8_t bytes[kMostCodes];
    CodeValues expanded = values;
    expanded.codes = expand<C>(values.codes, bytes);
    accumulate_codes<Codes<8, Levels::kNone>>(expanded, p, correction, rows, next, acc);
  });
}

}  // namespace
}  // namespace cairn
