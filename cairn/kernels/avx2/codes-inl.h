// SPDX-License-Identifier: Apache-2.0
// Scores and weighted values over integer codes: codes, or the levels that they stand for, become bytes, rows of
// queries and weights are rounded to words, to the bits of the plain loops in code_rows-inl.h. The products are those
// of 16-bit words: exact for every byte, where the instruction for bytes would saturate.
#pragma once

#include <immintrin.h>

#include "cairn/kernels/args.h"
#include "cairn/kernels/avx2/dot-inl.h"
#include "cairn/kernels/code_rows-inl.h"
#include "cairn/kernels/codes.h"
#include "cairn/kernels/prefetch-inl.h"

namespace cairn {
namespace {

inline __m256i load_bytes(const std::uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

// What a code matrix looks like as bytes: [lanes / 16][quads][64].
struct ByteCodes {
  explicit ByteCodes(const CodeMatrix& m) : quads((m.depth + 32 / m.bits - 1) / (32 / m.bits) * (8 / m.bits)) {}
  std::uint32_t quads;
  alignas(64) std::uint8_t bytes[kMaxChannels * kPageTokens];
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

// Shared codes, once for each channel that they stand for.
inline void expand_shared(const CodeMatrix& m, bool keys, ByteCodes& to) {
  const __m256i low = _mm256_set1_epi8(15);
  const auto [blocks, reads] = share_extents(m.shares);
  const std::uint32_t vectors = keys ? m.lanes / kCodeLanes : to.quads / 2;  // of a block
  for (std::uint32_t read = 0; read < reads; ++read) {
    const std::uint32_t block = shared_block(m.shares, read);
    for (std::uint32_t v = 0; v < vectors; ++v) {
      const std::uint8_t* from = m.codes + (keys ? v * blocks + block : block * vectors + v) * std::size_t{64};
      std::uint8_t* out = to.bytes + (keys ? v * to.quads + read * 2 : read * to.quads + v * 2) * std::size_t{64};
      for (int half = 0; half < 2; ++half, from += 32, out += 32) {
        const __m256i both = load_bytes(from);
        _mm256_store_si256(reinterpret_cast<__m256i*>(out), _mm256_and_si256(both, low));
        _mm256_store_si256(reinterpret_cast<__m256i*>(out + 64), _mm256_and_si256(_mm256_srli_epi16(both, 4), low));
      }
    }
  }
}

inline void expand_codes(const CodeMatrix& m, bool keys, ByteCodes& to) {
  if (m.shares != nullptr) return expand_shared(m, keys, to);
  switch (m.bits) {
    case 2: return expand<2>(m, to);
    case 4: return expand<4>(m, to);
    default: return expand<8>(m, to);
  }
}

// Words with each quad as its values 0, 2, 1, 3: even and odd bytes of codes are what widens cheaply.
struct QueryWords {
  float base;
  float half_scales[kMaxSegments];
  std::int32_t biases[kMaxSegments];
  alignas(32) std::int16_t words[kMaxChannels];
};
struct WeightWords {
  float half_scale;
  float zero_term;
  std::int32_t bias;
  alignas(32) std::int16_t words[kPageTokens];
};

template <std::uint32_t N>
inline float largest_magnitude(const __m256 (&v)[N]) {
  const __m256 magnitude_bits = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  __m256 m = _mm256_setzero_ps();
  // The operand order keeps NaN out of the maximum.
  for (const __m256& x : v) m = _mm256_max_ps(_mm256_and_ps(x, magnitude_bits), m);
  return largest_of(m);
}

// The first `count` vectors; zeros in the rest. Gives the sum.
template <std::uint32_t N>
inline std::int32_t round_to_words(const __m256 (&v)[N], std::uint32_t count, float inverse, float least,
                                   float max_value, std::int16_t* words) {
  __m256i sum = _mm256_setzero_si256();
  const auto round = [&](std::uint32_t i) {
    if (i >= count) return _mm256_setzero_si256();
    const __m256 x = _mm256_max_ps(_mm256_mul_ps(v[i], _mm256_set1_ps(inverse)), _mm256_set1_ps(least));
    const __m256i code = _mm256_cvtps_epi32(_mm256_min_ps(x, _mm256_set1_ps(max_value)));
    sum = _mm256_add_epi32(sum, code);
    return code;
  };
  for (std::uint32_t i = 0; i < N; i += 2) {
    const __m256i a = round(i), b = round(i + 1);
    const __m256i quads = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
    const __m256i swapped = _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(quads, 0xd8), 0xd8);
    _mm256_store_si256(reinterpret_cast<__m256i*>(words + i * 8), swapped);
  }
  const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
  const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}

inline void query_words(const CodeKeys& keys, const float* q, QueryWords& to) {
  const std::uint32_t depth = keys.codes.depth;
  to.base = keys.offset != nullptr ? dot_lanes(q, keys.offset, depth) : 0.0f;
  for (std::uint32_t first = 0, s = 0; first < depth; first += kQuerySegment, ++s) {
    const std::uint32_t count = smaller(depth - first, kQuerySegment) / 8;
    __m256 v[4];
    for (std::uint32_t i = 0; i < 4; ++i) {
      v[i] = i < count ? _mm256_loadu_ps(q + first + i * 8) : _mm256_setzero_ps();
      if (i < count && keys.channel_scale != nullptr)
        v[i] = _mm256_mul_ps(v[i], _mm256_loadu_ps(keys.channel_scale + first + i * 8));
    }
    const float largest = largest_magnitude(v);
    const float inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
    const std::int32_t sum = round_to_words(v, count, inverse, -127.0f, 127.0f, to.words + first);
    to.half_scales[s] = 0.5f * (largest / 127.0f);
    to.biases[s] = -keys.twice_middle * sum;
  }
}

inline void weight_words(const CodeValues& values, std::uint32_t group, const float* p, WeightWords& to) {
  const std::uint32_t depth = values.codes.depth;
  const float* scales = values.token_scale + std::size_t{group} * depth;
  const auto load = [&](const float* x, std::uint32_t t) {
    if (t + 8 <= depth) return _mm256_loadu_ps(x + t);
    return t + 4 <= depth ? _mm256_zextps128_ps256(_mm_loadu_ps(x + t)) : _mm256_setzero_ps();
  };
  __m256 v[8];
  for (std::uint32_t i = 0; i < 8; ++i) v[i] = _mm256_mul_ps(load(p, i * 8), load(scales, i * 8));
  const float largest = largest_magnitude(v);
  const float inverse = largest > 0.0f ? kMaxWeight / largest : 0.0f;
  const std::int32_t sum = round_to_words(v, 8, inverse, 0.0f, kMaxWeight, to.words);
  to.half_scale = 0.5f * (largest / kMaxWeight);
  to.bias = -values.twice_middle * sum;
  to.zero_term =
      values.token_offset != nullptr ? dot_lanes(p, values.token_offset + std::size_t{group} * depth, depth) : 0.0f;
}

inline __m256i broadcast_pair(const std::int16_t* p) {
  std::int32_t pair;
  __builtin_memcpy(&pair, p, sizeof(pair));
  return _mm256_set1_epi32(pair);
}

// Adds the products of a block of 16 lanes, as two halves, with R rows over quads [first, last).
template <std::uint32_t R, class Row>
inline void dot_quads(const std::uint8_t* block, const Row (&rows)[R], std::uint32_t first, std::uint32_t last,
                      __m256i (&dots)[R][2]) {
  const __m256i even = _mm256_set1_epi16(0xff);
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
    if ((keys.boxes >> t / kPageBoxTokens & 1) == 0) continue;
    const std::uint8_t* block = codes.bytes + std::size_t{t} * codes.quads * 4;
    for (std::uint32_t r = 0; r < R; ++r) {
      for (int h = 0; h < 2; ++h) _mm256_storeu_ps(out + r * kPageTokens + t + h * 8, _mm256_set1_ps(rows[r].base));
    }
    for (std::uint32_t s = 0; s * kSegmentQuads < codes.quads; ++s) {
      next.step();
      __m256i dots[R][2] = {};
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
  expand_codes(keys.codes, true, codes);
  if (keys.codes.levels != nullptr) look_up_keys(keys.codes, codes);
  const std::size_t depth = keys.codes.depth;
  const auto boxes = static_cast<std::uint32_t>(__builtin_popcount(keys.boxes));
  Prefetcher prefetcher(next, boxes * ((keys.codes.depth + kQuerySegment - 1) / kQuerySegment));
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
    __m256i dots[R][2] = {};
    constexpr std::uint32_t kBoxQuads = kPageBoxTokens / kCodeQuad;
    const std::uint32_t quads = values.codes.depth / kCodeQuad;
    for (std::uint32_t quad = 0; quad < quads; quad += kBoxQuads) {
      if ((values.boxes >> quad / kBoxQuads & 1) == 0) continue;
      dot_quads(codes.bytes + std::size_t{first} * codes.quads * 4, rows, quad, smaller(quads, quad + kBoxQuads), dots);
    }
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
  expand_codes(values.codes, false, codes);
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
