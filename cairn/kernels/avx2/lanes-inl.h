// SPDX-License-Identifier: Apache-2.0
// 16 floats for dense-inl.h, in two registers.
#pragma once

#include "cairn/kernels/avx2/pages-inl.h"

namespace cairn {
namespace {

struct Avx2Lanes {
  struct Type {
    __m256 low, high;
  };
  static constexpr std::uint32_t kRows = 6, kPanels = 1, kFewRows = 2, kFewPanels = 2, kOneRowPanels = 4;

  static Type load(const float* from) { return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
  static void store(Type lanes, float* to) {
    _mm256_storeu_ps(to, lanes.low);
    _mm256_storeu_ps(to + 8, lanes.high);
  }
  template <class E>
  static Type widen(E element, const typename E::Type* from) {
    return {load8(&element, from), load8(&element, from + 8)};
  }
  static __m256 spread(float x) { return _mm256_set1_ps(x); }
  static Type fused(Type w, __m256 x, Type sum) {
    return {_mm256_fmadd_ps(w.low, x, sum.low), _mm256_fmadd_ps(w.high, x, sum.high)};
  }
};

}  // namespace
}  // namespace cairn
