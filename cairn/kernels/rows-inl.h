// SPDX-License-Identifier: Apache-2.0
// Element types of raw pages, and the row kernels that plain loops serve well in every instruction set.
#pragma once

#include "cairn/base/half.h"
#include "cairn/kernels/elementwise-inl.h"
#include "cairn/kernels/matmul-inl.h"

namespace cairn {
namespace {

struct F16 {
  using Type = std::uint16_t;
  static float load(Type v) { return f16_to_f32(v); }
  static Type store(float v) { return f32_to_f16(v); }
  static constexpr float kMax = 65504.0f;
};
struct BF16 {
  using Type = std::uint16_t;
  static float load(Type v) { return bf16_to_f32(v); }
  static Type store(float v) { return f32_to_bf16(v); }
  static constexpr float kMax = 3.3895313892515355e38f;
};
struct F32 {
  using Type = float;
  static float load(Type v) { return v; }
  static Type store(float v) { return v; }
  static constexpr float kMax = __FLT_MAX__;
};

template <class E>
void narrow(const float* x, std::size_t count, void* out) {
  auto* to = static_cast<typename E::Type*>(out);
  for (std::size_t i = 0; i < count; ++i) {
    float value = x[i] == x[i] ? x[i] : 0.0f;
    value = value > E::kMax ? E::kMax : (value < -E::kMax ? -E::kMax : value);
    to[i] = E::store(value);
  }
}

void widen_f16(const std::uint16_t* x, std::size_t count, float* out) {
  std::size_t i = 0;
  for (; i + kPanelRows <= count; i += kPanelRows) unpack_halves(reinterpret_cast<const std::uint8_t*>(x + i), out + i);
  for (; i < count; ++i) out[i] = f16_to_f32(x[i]);
}

}  // namespace
}  // namespace cairn
