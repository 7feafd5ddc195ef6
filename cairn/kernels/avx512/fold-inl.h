// SPDX-License-Identifier: Apache-2.0
// What rounding four rows at once needs: horizontal reductions, far cheaper than one row after the other, and the way
// back. Sums of floats are those of sum_lanes, whose order every step keeps.
#pragma once

#include <immintrin.h>

#include <cstdint>

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

}  // namespace
}  // namespace cairn
