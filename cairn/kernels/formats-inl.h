// SPDX-License-Identifier: Apache-2.0
// How each quantised format lies in a unit of a panel (panel.h), as kernels read it: the codes of a quad as unsigned
// bytes, and what scales them. Written with the compiler's vectors of 64 bytes, so every instruction set has the same
// source. Included once per set, hence the unnamed namespace.
//
// A format says
//   kUnitCols, kUnitBytes   columns and bytes of a unit
//   kZeroPoint              what stored codes have too much; none is larger than Codes::kMaxCode
//   kGroupQuads             quads that share a scale: 8, or 4
//   kMinimum                whether something is subtracted, one value per scale
//   kFactors                whether scales and minima of groups are small integers times those of their unit
//   kInPlace                whether codes lie as products take them, after a head of kHead bytes
//   codes(unit, g, q, low, high)   quads q and q + 4 of the 32 columns g
//   scale(unit, group, out), minimum(unit, group, out), unit_scale(unit, out), unit_minimum(unit, out)
#pragma once

#if defined(__F16C__)
#include <immintrin.h>
#endif

#include <cstdint>

#include "cairn/base/half.h"
#include "cairn/kernels/panel.h"

namespace cairn {
namespace {

// A quad as words: no instruction set shifts bytes, and masks drop what crosses over.
using Words [[gnu::vector_size(kQuadBytes)]] = std::uint32_t;
// A value per row of a panel.
using Floats [[gnu::vector_size(kPanelRows * 4)]] = float;

inline void load(const std::uint8_t* from, Words& to) {
  __builtin_memcpy(&to, from, sizeof to);
}

inline void unpack_halves(const std::uint8_t* from, float* to) {
  std::uint16_t halves[kPanelRows];
  __builtin_memcpy(halves, from, sizeof halves);
#if defined(__AVX512F__)
  _mm512_storeu_ps(to, _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(halves))));
#elif defined(__F16C__)
  _mm256_storeu_ps(to, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(halves))));
  _mm256_storeu_ps(to + 8, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(halves + 8))));
#else
  for (std::uint32_t lane = 0; lane < kPanelRows; ++lane) to[lane] = f16_to_f32(halves[lane]);
#endif
}

inline void load_halves(const std::uint8_t* from, Floats& to) {
  float floats[kPanelRows];
  unpack_halves(from, floats);
  __builtin_memcpy(&to, floats, sizeof to);
}

// 16 integers of one byte. Compilers make poor code of the plain loop.
template <class Integer>
inline void load_integers(const std::uint8_t* from, Floats& to) {
  float floats[kPanelRows];
#if defined(__AVX512F__)
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  const __m512i wide = Integer(-1) < Integer(0) ? _mm512_cvtepi8_epi32(bytes) : _mm512_cvtepu8_epi32(bytes);
  _mm512_storeu_ps(floats, _mm512_cvtepi32_ps(wide));
#elif defined(__AVX2__)
  for (std::uint32_t half = 0; half < kPanelRows; half += 8) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from + half));
    const __m256i wide = Integer(-1) < Integer(0) ? _mm256_cvtepi8_epi32(bytes) : _mm256_cvtepu8_epi32(bytes);
    _mm256_storeu_ps(floats + half, _mm256_cvtepi32_ps(wide));
  }
#else
  for (std::uint32_t lane = 0; lane < kPanelRows; ++lane) {
    floats[lane] = static_cast<float>(static_cast<Integer>(from[lane]));
  }
#endif
  __builtin_memcpy(&to, floats, sizeof to);
}

// Powers of two, each a byte e that stands for 2^(e - 128): the bits of the float, a subnormal where e < 2.
inline void load_powers(const std::uint8_t* from, Floats& to) {
  std::uint32_t bits[kPanelRows];
#if defined(__AVX512F__)
  const __m512i e = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  const __m512i one = _mm512_set1_epi32(1);
  const __mmask16 small = _mm512_cmplt_epi32_mask(e, _mm512_set1_epi32(2));
  const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, one), 23);
  _mm512_storeu_si512(bits, _mm512_mask_slli_epi32(normal, small, _mm512_add_epi32(e, one), 21));
#else
  for (std::uint32_t lane = 0; lane < kPanelRows; ++lane) {
    const std::uint32_t e = from[lane];
    bits[lane] = e < 2 ? (e + 1) << 21 : (e - 1) << 23;
  }
#endif
  __builtin_memcpy(&to, bits, sizeof to);
}

// Adds to `out` the bits `mask` of `from` after a shift to the left, or to the right where `left` is negative.
inline void add_shifted(const Words& from, int left, std::uint32_t mask, Words& out) {
  out |= (left >= 0 ? from << left : from >> -left) & mask;
}

// Codes of 32 columns, kMainBytes and then kAboveBytes. Each gives quads q and q + 4.

struct Nibbles {
  static constexpr std::size_t kMainBytes = kQuads / 2 * kQuadBytes, kAboveBytes = 0;
  static constexpr std::uint32_t kMaxCode = 15;

  static void load_quads(const std::uint8_t* main, const std::uint8_t*, std::uint32_t q, Words& low, Words& high) {
    Words both;
    load(main + q * kQuadBytes, both);
    low = both & 0x0f0f0f0fu;
    high = (both >> 4) & 0x0f0f0f0fu;
  }
};

// Bit q of a byte of `above` belongs to quad q.
struct FiveBits {
  static constexpr std::size_t kMainBytes = Nibbles::kMainBytes, kAboveBytes = kQuadBytes;
  static constexpr std::uint32_t kMaxCode = 31;

  static void load_quads(const std::uint8_t* main, const std::uint8_t* above, std::uint32_t q, Words& low,
                         Words& high) {
    Words bits;
    load(above, bits);
    Nibbles::load_quads(main, nullptr, q, low, high);
    add_shifted(bits, 4 - static_cast<int>(q), 0x10101010u, low);
    add_shifted(bits, -static_cast<int>(q), 0x10101010u, high);
  }
};

// Bits 2 q and up of a byte of `above` belong to quad q, of its second vector to quad q + 4.
struct SixBits {
  static constexpr std::size_t kMainBytes = Nibbles::kMainBytes, kAboveBytes = 2 * kQuadBytes;
  static constexpr std::uint32_t kMaxCode = 63;

  static void load_quads(const std::uint8_t* main, const std::uint8_t* above, std::uint32_t q, Words& low,
                         Words& high) {
    Words first, second;
    load(above, first);
    load(above + kQuadBytes, second);
    Nibbles::load_quads(main, nullptr, q, low, high);
    add_shifted(first, 4 - 2 * static_cast<int>(q), 0x30303030u, low);
    add_shifted(second, 4 - 2 * static_cast<int>(q), 0x30303030u, high);
  }
};

struct TwoBits {
  static constexpr std::size_t kMainBytes = 2 * kQuadBytes, kAboveBytes = 0;
  static constexpr std::uint32_t kMaxCode = 3;

  static void load_quads(const std::uint8_t* main, const std::uint8_t*, std::uint32_t q, Words& low, Words& high) {
    load(main, low);
    load(main + kQuadBytes, high);
    low = (low >> (2 * q)) & 0x03030303u;
    high = (high >> (2 * q)) & 0x03030303u;
  }
};

// Bit q of a byte of `above` belongs to quad q.
struct ThreeBits {
  static constexpr std::size_t kMainBytes = TwoBits::kMainBytes, kAboveBytes = kQuadBytes;
  static constexpr std::uint32_t kMaxCode = 7;

  static void load_quads(const std::uint8_t* main, const std::uint8_t* above, std::uint32_t q, Words& low,
                         Words& high) {
    Words bits;
    load(above, bits);
    TwoBits::load_quads(main, nullptr, q, low, high);
    add_shifted(bits, 2 - static_cast<int>(q), 0x04040404u, low);
    add_shifted(bits, -2 - static_cast<int>(q), 0x04040404u, high);
  }
};

// Nibbles that number the levels of a table. Compilers know no table look-up, so this is written per instruction set.
template <const std::uint8_t (&kLevels)[16]>
struct NibbleLevels {
  static constexpr std::size_t kMainBytes = Nibbles::kMainBytes, kAboveBytes = 0;
  static constexpr std::uint32_t kMaxCode = kLevels[15] > kLevels[7] ? kLevels[15] : kLevels[7];

  static void load_quads(const std::uint8_t* main, const std::uint8_t*, std::uint32_t q, Words& low, Words& high) {
    const std::uint8_t* from = main + q * kQuadBytes;
#if defined(__AVX512BW__)
    const __m512i table = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(kLevels)));
    const __m512i nibble = _mm512_set1_epi8(15), both = _mm512_loadu_si512(from);
    const __m512i first = _mm512_shuffle_epi8(table, _mm512_and_si512(both, nibble));
    const __m512i second = _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(both, 4), nibble));
    __builtin_memcpy(&low, &first, sizeof low);
    __builtin_memcpy(&high, &second, sizeof high);
#elif defined(__AVX2__)
    const __m256i table = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(kLevels)));
    const __m256i nibble = _mm256_set1_epi8(15);
    for (std::uint32_t half = 0; half < 2; ++half) {
      const __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from) + half);
      const __m256i above = _mm256_and_si256(_mm256_srli_epi16(both, 4), nibble);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(&low) + half,
                          _mm256_shuffle_epi8(table, _mm256_and_si256(both, nibble)));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(&high) + half, _mm256_shuffle_epi8(table, above));
    }
#else
    std::uint8_t first[kQuadBytes], second[kQuadBytes];
    for (std::uint32_t i = 0; i < kQuadBytes; ++i) {
      first[i] = kLevels[from[i] & 15];
      second[i] = kLevels[from[i] >> 4];
    }
    __builtin_memcpy(&low, first, sizeof low);
    __builtin_memcpy(&high, second, sizeof high);
#endif
  }
};

struct EightBits {
  static constexpr std::size_t kMainBytes = kQuads * kQuadBytes, kAboveBytes = 0;
  static constexpr std::uint32_t kMaxCode = 255;

  static void load_quads(const std::uint8_t* main, const std::uint8_t*, std::uint32_t q, Words& low, Words& high) {
    load(main + q * kQuadBytes, low);
    load(main + (q + 4) * kQuadBytes, high);
  }
};

// The levels of IQ4_NL plus 128, and twice those of MXFP4's four-bit floats plus 16.
constexpr std::uint8_t kIq4Stored[16] = {1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241};
constexpr std::uint8_t kFp4Stored[16] = {16, 17, 18, 19, 20, 22, 24, 28, 16, 15, 14, 13, 12, 10, 8, 4};

// A unit of one group with a scale of its own, and perhaps a minimum.
template <WeightFormat kThis, class C, std::uint32_t kZero, bool kHasMinimum = false>
struct GroupUnit {
  using Codes = C;
  static constexpr WeightFormat kFormat = kThis;
  static constexpr bool kPowers = kThis == WeightFormat::kMXFP4;  // scales are bytes
  static constexpr std::uint32_t kUnitCols = kGroupValues, kZeroPoint = kZero, kGroupQuads = kQuads;
  static constexpr std::size_t kHead = kPanelRows * (kPowers ? 1 : kHasMinimum ? 4 : 2);
  static constexpr std::size_t kUnitBytes = kHead + Codes::kMainBytes + Codes::kAboveBytes;
  static constexpr bool kFactors = false, kMinimum = kHasMinimum;
  static constexpr bool kInPlace = Codes::kMaxCode == 255;  // stored as products take them

  static void codes(const std::uint8_t* unit, std::uint32_t, std::uint32_t q, Words& low, Words& high) {
    Codes::load_quads(unit + kHead, unit + kHead + Codes::kMainBytes, q, low, high);
  }
  static void scale(const std::uint8_t* unit, std::uint32_t, Floats& out) {
    kPowers ? load_powers(unit, out) : load_halves(unit, out);
  }
  static void minimum(const std::uint8_t* unit, std::uint32_t, Floats& out) { load_halves(unit + kPanelRows * 2, out); }
};

// A unit of 256 columns with one scale, and perhaps a minimum; each of its groups has small integers, the factors.
template <WeightFormat kThis, class C, std::uint32_t kZero, class Factor, std::uint32_t kCols, bool kHasMinimum = false>
struct FactorUnit {
  using Codes = C;
  static constexpr WeightFormat kFormat = kThis;
  static constexpr std::uint32_t kUnitCols = kChunkCols, kZeroPoint = kZero, kGroupQuads = kCols / 4;
  static constexpr std::size_t kFactorBytes = kUnitCols / kCols * kPanelRows;
  static constexpr std::size_t kHead = (kHasMinimum ? 2 : 1) * (kPanelRows * 2 + kFactorBytes);
  static constexpr std::size_t kCodeBytes = Codes::kMainBytes + Codes::kAboveBytes;  // of 32 columns
  static constexpr std::size_t kUnitBytes = kHead + kUnitCols / kGroupValues * kCodeBytes;
  static constexpr bool kFactors = true, kMinimum = kHasMinimum, kInPlace = false;

  static void codes(const std::uint8_t* unit, std::uint32_t g, std::uint32_t q, Words& low, Words& high) {
    const std::uint8_t* from = unit + kHead + g * kCodeBytes;
    Codes::load_quads(from, from + Codes::kMainBytes, q, low, high);
  }
  static void scale(const std::uint8_t* unit, std::uint32_t group, Floats& out) {
    load_integers<Factor>(unit + kPanelRows * (kHasMinimum ? 4 : 2) + group * kPanelRows, out);
  }
  static void minimum(const std::uint8_t* unit, std::uint32_t group, Floats& out) {
    load_integers<Factor>(unit + kPanelRows * 4 + kFactorBytes + group * kPanelRows, out);
  }
  static void unit_scale(const std::uint8_t* unit, Floats& out) { load_halves(unit, out); }
  // Meets the sums of codes that activations keep (args.h) where groups have 16 columns.
  static void unit_minimum(const std::uint8_t* unit, Floats& out) {
    load_halves(unit + kPanelRows * 2, out);
    if constexpr (kCols == 16) out *= -1.0f / 128.0f;
  }
};

using Q4_0 = GroupUnit<WeightFormat::kQ4_0, Nibbles, 8>;
using Q4_1 = GroupUnit<WeightFormat::kQ4_1, Nibbles, 0, true>;
using Q5_0 = GroupUnit<WeightFormat::kQ5_0, FiveBits, 16>;
using Q5_1 = GroupUnit<WeightFormat::kQ5_1, FiveBits, 0, true>;
using Q8_0 = GroupUnit<WeightFormat::kQ8_0, EightBits, 128>;
using IQ4_NL = GroupUnit<WeightFormat::kIQ4_NL, NibbleLevels<kIq4Stored>, 128>;
using MXFP4 = GroupUnit<WeightFormat::kMXFP4, NibbleLevels<kFp4Stored>, 16>;
using Q2_K = FactorUnit<WeightFormat::kQ2_K, TwoBits, 0, std::uint8_t, 16, true>;
using Q3_K = FactorUnit<WeightFormat::kQ3_K, ThreeBits, 4, std::int8_t, 16>;
using Q4_K = FactorUnit<WeightFormat::kQ4_K, Nibbles, 0, std::uint8_t, 32, true>;
using Q5_K = FactorUnit<WeightFormat::kQ5_K, FiveBits, 0, std::uint8_t, 32, true>;
using Q6_K = FactorUnit<WeightFormat::kQ6_K, SixBits, 32, std::int8_t, 16>;
using IQ4_XS = FactorUnit<WeightFormat::kIQ4_XS, NibbleLevels<kIq4Stored>, 128, std::int8_t, 32>;

// Calls what(F{}) with the type F of `format`, where that is quantised.
template <class What>
inline void with_format(WeightFormat format, What what) {
  switch (format) {
    case WeightFormat::kQ4_0: return what(Q4_0{});
    case WeightFormat::kQ4_1: return what(Q4_1{});
    case WeightFormat::kQ5_0: return what(Q5_0{});
    case WeightFormat::kQ5_1: return what(Q5_1{});
    case WeightFormat::kQ8_0: return what(Q8_0{});
    case WeightFormat::kQ2_K: return what(Q2_K{});
    case WeightFormat::kQ3_K: return what(Q3_K{});
    case WeightFormat::kQ4_K: return what(Q4_K{});
    case WeightFormat::kQ5_K: return what(Q5_K{});
    case WeightFormat::kQ6_K: return what(Q6_K{});
    case WeightFormat::kIQ4_NL: return what(IQ4_NL{});
    case WeightFormat::kIQ4_XS: return what(IQ4_XS{});
    case WeightFormat::kMXFP4: return what(MXFP4{});
    case WeightFormat::kF32:
    case WeightFormat::kF16:
    case WeightFormat::kBF16: return;  // multiply_dense()'s
  }
}

}  // namespace
}  // namespace cairn
