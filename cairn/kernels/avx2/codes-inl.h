// SPDX-License-Identifier: Apache-2.0
// Scores and weighted values over integer codes. Codes become bytes first; the products are those of 16-bit words,
// which are exact for every byte, where the instruction for bytes would saturate.
#pragma once

#include <immintrin.h>

#include "cairn/kernels/code_rows-inl.h"
#include "cairn/kernels/prefetch-inl.h"

namespace cairn {
namespace {

inline __m256i load_bytes(const std::uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

inline __m256i broadcast_pair(const std::int16_t* p) {
  std::int32_t pair;
  __builtin_memcpy(&pair, p, sizeof(pair));
  return _mm256_set1_epi32(pair);
}

// What a code matrix looks like as bytes: [lanes / 16][quads][64].
struct ByteCodes {
  explicit ByteCodes(const CodeMatrix& m) : quads((m.depth + 32 / m.bits - 1) / (32 / m.bits) * (8 / m.bits)) {}
  std::uint32_t quads;
  alignas(64) std::uint8_t bytes[kMostChannels * kPageTokens];
};

template <std::uint32_t Bits>
void expand(const CodeMatrix& m, ByteCodes& to) {
  const __m256i low = _mm256_set1_epi8(static_cast<char>((1u << Bits) - 1));
  const std::size_t vectors = (m.lanes + kCodeLanes - 1) / kCodeLanes * (to.quads / (8 / Bits));
  for (std::size_t v = 0; v < vectors; ++v) {
    for (int half = 0; half < 2; ++half) {
      __m256i rest = load_bytes(m.codes + v * 64 + half * 32);
      for (std::uint32_t k = 0; k < 8 / Bits; ++k) {
        auto* out = reinterpret_cast<__m256i*>(to.bytes + (v * (8 / Bits) + k) * 64 + half * 32);
        _mm256_store_si256(out, Bits == 8 ? rest : _mm256_and_si256(rest, low));
        rest = _mm256_srli_epi16(rest, Bits % 8);
      }
    }
  }
}

// Replaces codes by levels; the bytes that masks[i] selects use the tables of which each 128-bit half of tables[i]
// holds one.
inline void look_up(const __m256i (&tables)[4], const __m256i (&masks)[4], std::uint8_t* bytes) {
  auto* at = reinterpret_cast<__m256i*>(bytes);
  const __m256i codes = _mm256_load_si256(at);
  __m256i levels = _mm256_setzero_si256();
  for (int i = 0; i < 4; ++i)
    levels = _mm256_or_si256(levels, _mm256_and_si256(masks[i], _mm256_shuffle_epi8(tables[i], codes)));
  _mm256_store_si256(at, levels);
}

inline __m256i tables_of(const std::uint8_t* levels, std::uint32_t low_channel, std::uint32_t high_channel) {
  return _mm256_loadu2_m128i(reinterpret_cast<const __m128i*>(levels + high_channel * 16),
                             reinterpret_cast<const __m128i*>(levels + low_channel * 16));
}

inline void look_up_keys(const CodeMatrix& m, ByteCodes& codes) {
  const __m256i first = _mm256_set1_epi32(0xff);
  const __m256i masks[4] = {first, _mm256_slli_epi32(first, 8), _mm256_slli_epi32(first, 16),
                            _mm256_slli_epi32(first, 24)};
  for (std::uint32_t q = 0; q < codes.quads; ++q) {
    __m256i tables[4];
    for (std::uint32_t i = 0; i < 4; ++i) tables[i] = tables_of(m.levels, 4 * q + i, 4 * q + i);
    for (std::uint32_t block = 0; block * kCodeLanes < m.lanes; ++block) {
      std::uint8_t* at = codes.bytes + (std::size_t{block} * codes.quads + q) * 64;
      look_up(tables, masks, at);
      look_up(tables, masks, at + 32);
    }
  }
}

inline void look_up_values(const CodeMatrix& m, ByteCodes& codes) {
  const __m256i masks[4] = {_mm256_setr_epi32(-1, 0, 0, 0, -1, 0, 0, 0), _mm256_setr_epi32(0, -1, 0, 0, 0, -1, 0, 0),
                            _mm256_setr_epi32(0, 0, -1, 0, 0, 0, -1, 0), _mm256_setr_epi32(0, 0, 0, -1, 0, 0, 0, -1)};
  const std::uint32_t halves = (m.lanes + kCodeLanes - 1) / kCodeLanes * 2;
  for (std::uint32_t half = 0; half < halves; ++half) {
    __m256i tables[4];
    for (std::uint32_t i = 0; i < 4; ++i) tables[i] = tables_of(m.levels, half * 8 + i, half * 8 + 4 + i);
    std::uint8_t* at = codes.bytes + std::size_t{half / 2} * codes.quads * 64 + half % 2 * 32;
    for (std::uint32_t q = 0; q < codes.quads; ++q) look_up(tables, masks, at + q * 64);
  }
}

inline void expand_codes(const CodeMatrix& m, ByteCodes& to) {
  switch (m.bits) {
    case 2: return expand<2>(m, to);
    case 4: return expand<4>(m, to);
    default: return expand<8>(m, to);
  }
}

// Rows as words, each quad as its values 0, 2, 1, 3: even and odd bytes are what widens cheaply.
using RowWords = std::int16_t[kMostChannels];

template <class T>
inline void widen_row(const T* codes, std::uint32_t quads, RowWords& words) {
  for (std::uint32_t i = 0; i < quads * 4; i += 4) {
    words[i] = codes[i];
    words[i + 1] = codes[i + 2];
    words[i + 2] = codes[i + 1];
    words[i + 3] = codes[i + 3];
  }
}

// The products of 8 lanes with R rows over `quads` quads, the first of which both pointers begin with.
template <std::uint32_t R>
inline void dot_quads(const std::uint8_t* bytes, const RowWords* rows, std::uint32_t first, std::uint32_t last,
                      __m256i (&dots)[R]) {
  const __m256i even = _mm256_set1_epi16(0xff);
  for (std::uint32_t r = 0; r < R; ++r) dots[r] = _mm256_setzero_si256();
  for (std::uint32_t j = first; j < last; ++j) {
    const __m256i codes = load_bytes(bytes + j * 64);
    const __m256i a = _mm256_and_si256(codes, even), b = _mm256_srli_epi16(codes, 8);
    for (std::uint32_t r = 0; r < R; ++r) {
      const __m256i products = _mm256_add_epi32(_mm256_madd_epi16(a, broadcast_pair(rows[r] + j * 4)),
                                                _mm256_madd_epi16(b, broadcast_pair(rows[r] + j * 4 + 2)));
      dots[r] = _mm256_add_epi32(dots[r], products);
    }
  }
}

inline __m256 twice_and_bias(__m256i dot, std::int32_t bias) {
  return _mm256_cvtepi32_ps(_mm256_add_epi32(_mm256_add_epi32(dot, dot), _mm256_set1_epi32(bias)));
}

template <std::uint32_t R>
void score_rows(const CodeKeys& keys, const ByteCodes& codes, const float* q, Prefetcher& next, float* out) {
  constexpr std::uint32_t kSegmentQuads = kQuerySegment / kCodeQuad;
  RoundedQuery queries[R];
  alignas(32) RowWords words[R];
  for (std::uint32_t r = 0; r < R; ++r) {
    round_query(keys, q + std::size_t{r} * keys.codes.depth, queries[r]);
    widen_row(queries[r].codes, (keys.codes.depth + kQuerySegment - 1) / kQuerySegment * kSegmentQuads, words[r]);
  }
  for (std::uint32_t t = 0; t < keys.codes.lanes; t += 8) {
    const std::uint8_t* bytes = codes.bytes + std::size_t{t / kCodeLanes} * codes.quads * 64 + t % kCodeLanes * 4;
    __m256 total[R];
    for (std::uint32_t r = 0; r < R; ++r) total[r] = _mm256_set1_ps(queries[r].base);
    for (std::uint32_t s = 0; s * kSegmentQuads < codes.quads; ++s) {
      next.step();
      const std::uint32_t end = (s + 1) * kSegmentQuads;
      __m256i dots[R];
      dot_quads<R>(bytes, words, s * kSegmentQuads, end < codes.quads ? end : codes.quads, dots);
      for (std::uint32_t r = 0; r < R; ++r) {
        const __m256 x =
            _mm256_mul_ps(twice_and_bias(dots[r], queries[r].biases[s]), _mm256_set1_ps(queries[r].half_scales[s]));
        total[r] =
            keys.token_scale == nullptr
                ? _mm256_add_ps(total[r], x)
                : _mm256_fmadd_ps(x, _mm256_loadu_ps(keys.token_scale + std::size_t{s} * keys.token_scale_stride + t),
                                  total[r]);
      }
    }
    for (std::uint32_t r = 0; r < R; ++r) _mm256_storeu_ps(out + r * kPageTokens + t, total[r]);
  }
}

void code_scores(const CodeKeys& keys, const float* q, std::uint32_t rows, Upcoming next, float* out) {
  ByteCodes codes(keys.codes);
  expand_codes(keys.codes, codes);
  if (keys.codes.levels != nullptr) look_up_keys(keys.codes, codes);
  Prefetcher prefetcher(next, keys.codes.lanes / 8 * ((keys.codes.depth + kQuerySegment - 1) / kQuerySegment));
  const std::size_t depth = keys.codes.depth;
  std::uint32_t r = 0;
  for (; r + 4 <= rows; r += 4) score_rows<4>(keys, codes, q + r * depth, prefetcher, out + r * kPageTokens);
  for (; r < rows; ++r) score_rows<1>(keys, codes, q + r * depth, prefetcher, out + r * kPageTokens);
}

template <std::uint32_t R>
void accumulate_code_rows(const CodeValues& values, const ByteCodes& codes, const float* p, const float* correction,
                          Prefetcher& next, float* acc) {
  const std::uint32_t lanes = values.codes.lanes, quads = values.codes.depth / kCodeQuad;
  RoundedWeights weights[R];
  alignas(32) RowWords words[R];
  for (std::uint32_t d = 0; d < lanes; d += 8) {
    next.step();
    if (d % values.group == 0) {
      for (std::uint32_t r = 0; r < R; ++r) {
        round_weights(values, d / values.group, p + r * kPageTokens, weights[r]);
        widen_row(weights[r].codes, quads, words[r]);
      }
    }
    const std::uint8_t* bytes = codes.bytes + std::size_t{d / kCodeLanes} * codes.quads * 64 + d % kCodeLanes * 4;
    __m256i dots[R];
    dot_quads<R>(bytes, words, 0, quads, dots);
    for (std::uint32_t r = 0; r < R; ++r) {
      __m256 x = _mm256_fmadd_ps(twice_and_bias(dots[r], weights[r].bias), _mm256_set1_ps(weights[r].half_scale),
                                 _mm256_set1_ps(weights[r].zero_term));
      if (values.channel_scale != nullptr) x = _mm256_mul_ps(x, _mm256_loadu_ps(values.channel_scale + d));
      float* sum = acc + std::size_t{r} * lanes + d;
      _mm256_storeu_ps(sum, _mm256_fmadd_ps(_mm256_loadu_ps(sum), _mm256_set1_ps(correction[r]), x));
    }
  }
}

void code_accumulate(const CodeValues& values, const float* p, const float* correction, std::uint32_t rows,
                     Upcoming next, float* acc) {
  ByteCodes codes(values.codes);
  expand_codes(values.codes, codes);
  if (values.codes.levels != nullptr) look_up_values(values.codes, codes);
  const std::size_t lanes = values.codes.lanes;
  Prefetcher prefetcher(next, values.codes.lanes / 8);
  std::uint32_t r = 0;
  for (; r + 4 <= rows; r += 4)
    accumulate_code_rows<4>(values, codes, p + r * kPageTokens, correction + r, prefetcher, acc + r * lanes);
  for (; r < rows; ++r)
    accumulate_code_rows<1>(values, codes, p + r * kPageTokens, correction + r, prefetcher, acc + r * lanes);
}

}  // namespace
}  // namespace cairn
