// SPDX-License-Identifier: Apache-2.0
// What scores and weighted values over integer codes share: vectors of packed codes as bytes or as the levels that
// codes stand for, and what rounding four rows at once needs, horizontal reductions, far cheaper than one row after the
// other, and the way back. Sums of floats are those of sum_lanes, whose order every step keeps.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "cairn/kernels/args.h"
#include "cairn/kernels/codes.h"

namespace cairn {
namespace {

struct MaxWords {
  static __m512i combine(__m512i a, __m512i b) { return _mm512_max_epi32(a, b); }
};
struct AddWords {
  static __m512i combine(__m512i a, __m512i b) { return _mm512_add_epi32(a, b); }
};
struct AddFloats {
  static __m512i combine(__m512i a, __m512i b) {
    return _mm512_castps_si512(_mm512_add_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b)));
  }
};

// Lanes i with i + 8, then with i + 4: 128-bit lane r keeps what is left of v[r].
template <class Op>
inline __m512i fold_rows(const __m512i (&v)[4]) {
  const __m512i a = Op::combine(_mm512_shuffle_i32x4(v[0], v[1], 0x44), _mm512_shuffle_i32x4(v[0], v[1], 0xee));
  const __m512i b = Op::combine(_mm512_shuffle_i32x4(v[2], v[3], 0x44), _mm512_shuffle_i32x4(v[2], v[3], 0xee));
  return Op::combine(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
}

// Within 128-bit lanes: i with i + 2, and i with i + 1. All lanes that took part hold the result.
template <class Op>
inline __m512i fold_halves(__m512i v) {
  return Op::combine(v, _mm512_shuffle_epi32(v, _MM_PERM_BADC));
}
template <class Op>
inline __m512i fold_pairs(__m512i v) {
  return Op::combine(v, _mm512_shuffle_epi32(v, _MM_PERM_CDAB));
}

// 128-bit lane r in every one.
inline __m512 every_quad(__m512 v, std::uint32_t r) {
  switch (r) {
    case 0: return _mm512_shuffle_f32x4(v, v, 0x00);
    case 1: return _mm512_shuffle_f32x4(v, v, 0x55);
    case 2: return _mm512_shuffle_f32x4(v, v, 0xaa);
    default: return _mm512_shuffle_f32x4(v, v, 0xff);
  }
}

// A bit per value of which there are `count`, up to 64; vector i of 16 has those from bit 16 * i on.
inline std::uint64_t first_bits(std::uint32_t count) {
  return count >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << count) - 1;
}

// Whether a row may be rounded without a thought for infinity, not-a-number and values whose inverse would overflow.
// `largest` are magnitudes as integers, which order like the floats; not-a-number is the largest of all.
inline bool ordinary(__m512i largest) {
  const __m512i tiny = _mm512_set1_epi32(0x0da24260), infinity = _mm512_set1_epi32(0x7f800000);  // 1e-30
  const __mmask16 within = _mm512_cmplt_epu32_mask(_mm512_sub_epi32(largest, tiny), _mm512_sub_epi32(infinity, tiny));
  return _mm512_mask_test_epi32_mask(static_cast<__mmask16>(~within), largest, largest) == 0;
}

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

// The levels of shared codes, of the boxes that are read. Lanes and depth are those of the channels.
template <Levels Kind>
CodeMatrix expand_shared(const CodeMatrix& m, std::uint8_t boxes, std::uint8_t* out) {
  constexpr std::uint32_t kBits = 4;
  const CodeMatrix expanded = {out, 8, m.lanes, m.depth, nullptr};
  const std::size_t quads = vectors_of(expanded);
  const std::uint32_t blocks = share_extents(m.shares).blocks;
  const std::uint8_t* levels = m.levels;
  std::uint32_t block = 0, read = 0;
  for (std::uint32_t kind = 0; kind < kShareKinds; ++kind) {
    for (const std::uint32_t end = block + m.shares[kind]; block < end; ++block) {
      for (std::uint32_t n = 0; n < 1u << kind; ++n, ++read) {
        if constexpr (Kind == Levels::kOfDepth) {
          for (std::uint32_t k = 0; k < 2; ++k, levels += kCodeQuad * 16) {
            const LevelTables tables = depth_tables(levels);
            for (std::uint32_t lane = 0; lane * kCodeLanes < m.lanes; ++lane) {
              if ((boxes >> lane & 1) == 0) continue;
              const __m512i packed = _mm512_loadu_si512(m.codes + (std::size_t{lane} * blocks + block) * 64);
              _mm512_store_si512(out + (lane * quads + read * 2 + k) * 64,
                                 look_up<Kind>(tables, unpack_quad<kBits>(packed, k)));
            }
          }
        } else {
          const LevelTables tables = lane_tables(levels);
          levels += kCodeLanes * 16;
          for (std::uint32_t v = 0; v * 2 < quads; ++v) {
            if ((boxes >> v * 2 * kCodeQuad / kPageBoxTokens & 1) == 0) continue;
            const __m512i packed = _mm512_loadu_si512(m.codes + (block * (quads / 2) + v) * 64);
            for (std::uint32_t k = 0; k < 2; ++k) {
              _mm512_store_si512(out + (read * quads + v * 2 + k) * 64,
                                 look_up<Kind>(tables, unpack_quad<kBits>(packed, k)));
            }
          }
        }
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
