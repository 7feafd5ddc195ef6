// SPDX-License-Identifier: Apache-2.0
// Codes, or the levels that they stand for, as bytes.
#pragma once

#include <immintrin.h>

#include "cairn/kernels/args.h"
#include "cairn/kernels/codes.h"

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

inline void expand_codes(const CodeMatrix& m, ByteCodes& to) {
  switch (m.bits) {
    case 2: return expand<2>(m, to);
    case 4: return expand<4>(m, to);
    default: return expand<8>(m, to);
  }
}

}  // namespace
}  // namespace cairn
