// SPDX-License-Identifier: Apache-2.0
// Sixteen horizontal reductions at once: far cheaper than one after the other.
#pragma once

#include <immintrin.h>

namespace cairn {
namespace {

struct MaxLanes {
  static __m512 combine(__m512 a, __m512 b) { return _mm512_max_ps(a, b); }
};
struct AddLanes {
  static __m512 combine(__m512 a, __m512 b) { return _mm512_add_ps(a, b); }
};
struct AddWords {
  static __m512 combine(__m512 a, __m512 b) {
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b)));
  }
};

// The first two steps, lanes i with i + 8 and then with i + 4: 128-bit lane r keeps what is left of v[r].
template <class Op>
inline __m512 fold_rows(const __m512 (&v)[4]) {
  const __m512 a = Op::combine(_mm512_shuffle_f32x4(v[0], v[1], 0x44), _mm512_shuffle_f32x4(v[0], v[1], 0xee));
  const __m512 b = Op::combine(_mm512_shuffle_f32x4(v[2], v[3], 0x44), _mm512_shuffle_f32x4(v[2], v[3], 0xee));
  return Op::combine(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
}

// The last two, i with i + 2 and with i + 1, in the order of sum_lanes. Lane 4 * r + m is the result of row r in
// rows[m].
template <class Op>
inline __m512 fold_quads(const __m512 (&rows)[4]) {
  const auto halve = [](__m512 a, __m512 b) {
    const __m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);
    return Op::combine(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)), _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
  };
  const __m512 a = halve(rows[0], rows[1]), b = halve(rows[2], rows[3]);
  return Op::combine(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xdd));
}

}  // namespace
}  // namespace cairn
