// SPDX-License-Identifier: Apache-2.0
// Scalar f16 and bf16 conversions, round to nearest even. They define what the SIMD conversions must return.
// Always inlined, and from builtins: a copy compiled for one instruction set must never be linked into code for
// another.
#pragma once

#include <cstdint>

namespace cairn {

[[gnu::always_inline]] inline float f16_to_f32(std::uint16_t h) {
  const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000u) << 16;
  const std::uint32_t magnitude = h & 0x7fffu;
  if (magnitude >= 0x7c00u)
    return __builtin_bit_cast(
        float, sign | 0x7f800000u | ((magnitude & 0x3ffu) << 13) | ((magnitude & 0x3ffu) != 0 ? 0x00400000u : 0u));
  if (magnitude < 0x0400u) {  // zero and subnormals: an exact product by 2^-24
    return __builtin_bit_cast(float,
                              __builtin_bit_cast(std::uint32_t, static_cast<float>(magnitude) * 0x1p-24f) | sign);
  }
  return __builtin_bit_cast(float, sign | ((magnitude + 0x1c000u) << 13));
}

[[gnu::always_inline]] inline std::uint16_t f32_to_f16(float f) {
  const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, f);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
  if (magnitude >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);  // rounds to infinity
  if (magnitude < 0x38800000u) {  // subnormal result: let the adder round
    const float shifted = __builtin_bit_cast(float, magnitude) + 0.5f;
    return static_cast<std::uint16_t>(sign | (__builtin_bit_cast(std::uint32_t, shifted) - 0x3f000000u));
  }
  const std::uint32_t odd = (magnitude >> 13) & 1u;
  return static_cast<std::uint16_t>(sign | ((magnitude - 0x38000000u + 0xfffu + odd) >> 13));
}

[[gnu::always_inline]] inline float bf16_to_f32(std::uint16_t h) {
  return __builtin_bit_cast(float, static_cast<std::uint32_t>(h) << 16);
}

[[gnu::always_inline]] inline std::uint16_t f32_to_bf16(float f) {
  const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, f);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

}  // namespace cairn
