// SPDX-License-Identifier: Apache-2.0
// 16 floats for dense-inl.h.
#pragma once

#include "cairn/kernels/avx512/pages-inl.h"

namespace cairn {
namespace {

struct Avx512Lanes {
  using Type = __m512;
  static constexpr std::uint32_t kRows = 12, kPanels = 2, kFewRows = 4, kFewPanels = 4, kOneRowPanels = 8;

  static Type load(const float* from) { return _mm512_loadu_ps(from); }
  static void store(Type lanes, float* to) { _mm512_storeu_ps(to, lanes); }
  template <class E>
  static Type widen(E element, const typename E::Type* from) {
    return load16(&element, from);
  }
  static Type spread(float x) { return _mm512_set1_ps(x); }
  static Type fused(Type w, Type x, Type sum) { return _mm512_fmadd_ps(w, x, sum); }
};

}  // namespace
}  // namespace cairn
