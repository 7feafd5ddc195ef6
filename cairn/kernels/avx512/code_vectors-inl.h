// SPDX-License-Identifier: Apache-2.0
// Vectors of packed codes as bytes, or as the levels that codes stand for.
#pragma once

#include <immintrin.h>

#include "cairn/kernels/args.h"
#include "cairn/kernels/codes.h"

namespace cairn {
namespace {

// Whose tables of levels a byte looks into: those of its depth (a key) or of its lane (a value).
enum class Levels : std::uint8_t { kNone, kOfDepth, kOfLane };

template <std::uint32_t BitsPerCode, Levels Kind>
struct Codes {
  static constexpr std::uint32_t kBits = BitsPerCode;
  static constexpr std::uint32_t kQuads = 8 / kBits;  // per vector
  static constexpr std::uint32_t kDepths = 32 / kBits;
  static constexpr Levels kLevels = Kind;
};

inline std::uint32_t vectors_of(const CodeMatrix& m) {
  return (m.depth * m.bits + 31) / 32;
}

// Four signed bytes or two words of a row.
template <class T>
inline __m512i broadcast_word(const T* p) {
  std::int32_t word;
  __builtin_memcpy(&word, p, sizeof(word));
  return _mm512_set1_epi32(word);
}

// Quad k of a packed vector.
template <std::uint32_t Bits>
inline __m512i unpack_quad(__m512i packed, std::uint32_t k) {
  if constexpr (Bits == 8) return packed;
  const __m512i low = _mm512_set1_epi8(static_cast<char>((1u << Bits) - 1));
  return _mm512_and_si512(k == 0 ? packed : _mm512_srli_epi16(packed, k * Bits), low);
}

// Half of quad k as words: depths 0 and 2 of the quad, or 1 and 3.
template <std::uint32_t Bits>
inline __m512i unpack_words(__m512i packed, std::uint32_t k, std::uint32_t half) {
  const std::uint32_t shift = half * 8 + k * Bits;
  const __m512i shifted = shift == 0 ? packed : _mm512_srli_epi16(packed, shift);
  return shift + Bits == 16 ? shifted : _mm512_and_si512(shifted, _mm512_set1_epi16((1 << Bits) - 1));
}

struct LevelTables {
  __m512i tables[4];
};

// Four tables, each in every 128-bit lane: of depths 4q to 4q + 3, whose levels these are.
inline LevelTables depth_tables(const std::uint8_t* levels) {
  LevelTables t;
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i)
    t.tables[i] = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(levels + i * 16)));
  return t;
}

// The tables of 16 lanes: 128-bit lane L of table i belongs to lane 4 * L + i.
inline LevelTables lane_tables(const std::uint8_t* levels) {
  __m512i rows[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) rows[i] = _mm512_loadu_si512(levels + i * 64);
  const __m512i a = _mm512_shuffle_i32x4(rows[0], rows[1], 0x44), b = _mm512_shuffle_i32x4(rows[2], rows[3], 0x44);
  const __m512i c = _mm512_shuffle_i32x4(rows[0], rows[1], 0xee), d = _mm512_shuffle_i32x4(rows[2], rows[3], 0xee);
  return {{_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd), _mm512_shuffle_i32x4(c, d, 0x88),
           _mm512_shuffle_i32x4(c, d, 0xdd)}};
}

template <Levels Kind>
inline __m512i look_up(const LevelTables& t, __m512i codes) {
  constexpr __mmask64 kFirst = Kind == Levels::kOfDepth ? 0x1111111111111111u : 0x000f000f000f000fu;
  constexpr int kStep = Kind == Levels::kOfDepth ? 1 : 4;
  __m512i levels = _mm512_maskz_shuffle_epi8(kFirst, t.tables[0], codes);
#pragma GCC unroll 3
  for (int i = 1; i < 4; ++i) levels = _mm512_mask_shuffle_epi8(levels, kFirst << (i * kStep), t.tables[i], codes);
  return levels;
}

// Bytes that hold any expanded matrix.
inline constexpr std::size_t kMaxCodes = kMaxChannels * kPageTokens;

// Levels as codes that stand for themselves: worth the stores where many rows read them. (To unpack codes costs
// nothing: it is done in the shadow of the products.)
template <Levels Kind>
CodeMatrix expand(const CodeMatrix& m, std::uint8_t* out) {
  constexpr std::uint32_t kBits = 4, kVectorQuads = 8 / kBits;
  const CodeMatrix expanded = {out, 8, m.lanes, m.depth, nullptr};
  const std::uint32_t vectors = vectors_of(m), quads = vectors_of(expanded);
  const std::uint8_t* from = m.codes;
  for (std::uint32_t lane = 0; lane < m.lanes; lane += kCodeLanes) {
    LevelTables tables;
    if constexpr (Kind == Levels::kOfLane) tables = lane_tables(m.levels + lane * 16);
    for (std::uint32_t v = 0; v < vectors; ++v, from += 64) {
      const __m512i packed = _mm512_loadu_si512(from);
      for (std::uint32_t k = 0; k < kVectorQuads && v * kVectorQuads + k < quads; ++k, out += 64) {
        if constexpr (Kind == Levels::kOfDepth) tables = depth_tables(m.levels + (v * kVectorQuads + k) * 64);
        _mm512_store_si512(out, look_up<Kind>(tables, unpack_quad<kBits>(packed, k)));
      }
    }
  }
  return expanded;
}

// Calls visit.operator()<Codes>() for what the matrix holds.
template <Levels Kind, class Visit>
inline void with_codes(const CodeMatrix& m, Visit visit) {
  if (m.levels != nullptr) return visit.template operator()<Codes<4, Kind>>();
  switch (m.bits) {
    case 2: return visit.template operator()<Codes<2, Levels::kNone>>();
    case 4: return visit.template operator()<Codes<4, Levels::kNone>>();
    default: return visit.template operator()<Codes<8, Levels::kNone>>();
  }
}

}  // namespace
}  // namespace cairn
