// SPDX-License-Identifier: Apache-2.0
// Element-wise kernels as plain loops that every instruction set vectorises for itself; each lane does the same
// operations everywhere, so the bits agree. Included once per set, hence the unnamed namespace, and builtins instead of
// library templates: a shared instantiation compiled for one set could be linked into another.
#pragma once

#include <cstdint>

#include "cairn/base/half.h"
#include "cairn/kernels/args.h"
#include "cairn/kernels/matmul-inl.h"

namespace cairn {
namespace {

inline constexpr std::uint32_t kSumLanes = 16;

inline float fused(float a, float b, float c) {
  return __builtin_fmaf(a, b, c);
}

// e^x within 2 ulp on [-87, 88]; 0 below, and the value at 88 above. exp(0) is exactly 1.
inline float exp_lane(float x) {
  constexpr float kLog2e = 1.44269504088896341f;
  constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer in the low mantissa bits
  const float clamped = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);
  const float shifted = fused(clamped, kLog2e, kRound);
  const float n = shifted - kRound;
  float r = fused(n, -kLn2High, clamped);
  r = fused(n, -kLn2Low, r);
  float p = 1.9875691500e-4f;
  p = fused(p, r, 1.3981999507e-3f);
  p = fused(p, r, 8.3334519073e-3f);
  p = fused(p, r, 4.1665795894e-2f);
  p = fused(p, r, 1.6666665459e-1f);
  p = fused(p, r, 5.0000001201e-1f);
  p = fused(p, r * r, r) + 1.0f;
  const std::int32_t exponent = __builtin_bit_cast(std::int32_t, shifted) - __builtin_bit_cast(std::int32_t, kRound);
  const float scale = __builtin_bit_cast(float, (exponent + 127) << 23);
  return x < -87.0f ? 0.0f : p * scale;
}

// The one order in which 16 partial sums are added.
inline float sum_lanes(const float* lanes) {
  float eight[8], four[4];
  for (int i = 0; i < 8; ++i) eight[i] = lanes[i] + lanes[i + 8];
  for (int i = 0; i < 4; ++i) four[i] = eight[i] + eight[i + 4];
  return (four[0] + four[2]) + (four[1] + four[3]);
}

// The greatest of 16 lanes. Requires: no NaN.
inline float max_lane(const float* lanes) {
  float eight[8], four[4], two[2];
  for (int i = 0; i < 8; ++i) eight[i] = lanes[i] > lanes[i + 8] ? lanes[i] : lanes[i + 8];
  for (int i = 0; i < 4; ++i) four[i] = eight[i] > eight[i + 4] ? eight[i] : eight[i + 4];
  for (int i = 0; i < 2; ++i) two[i] = four[i] > four[i + 2] ? four[i] : four[i + 2];
  return two[0] > two[1] ? two[0] : two[1];
}

void box_tops(const float* scores, std::uint64_t mask, std::uint32_t rows, float* tops) {
  constexpr float kNone = -__builtin_inff();
  for (std::uint32_t b = 0; b < kPageBoxes; ++b) {
    const auto seen = static_cast<std::int32_t>(mask >> b * kPageBoxTokens & 0xffff);
    for (std::uint32_t r = 0; r < rows; ++r) {
      const float* box = scores + r * kPageTokens + b * kPageBoxTokens;
      alignas(64) float lanes[kPageBoxTokens];
      for (std::uint32_t l = 0; l < kPageBoxTokens; ++l) {
        lanes[l] = (seen >> l & 1) != 0 && box[l] > kNone ? box[l] : kNone;
      }
      tops[r * kPageBoxes + b] = max_lane(lanes);
    }
  }
}

void rms_norm(const float* x, const float* weight, float eps, std::size_t count, float* y) {
  alignas(64) float lanes[kSumLanes] = {};
  std::size_t i = 0;
  for (; i + kSumLanes <= count; i += kSumLanes) {
    for (std::uint32_t l = 0; l < kSumLanes; ++l) lanes[l] = fused(x[i + l], x[i + l], lanes[l]);
  }
  for (std::uint32_t l = 0; i + l < count; ++l) lanes[l] = fused(x[i + l], x[i + l], lanes[l]);
  const float scale = 1.0f / __builtin_sqrtf(sum_lanes(lanes) / static_cast<float>(count) + eps);
  for (i = 0; i < count; ++i) y[i] = x[i] * scale * weight[i];
}

void silu_mul(float* gate, const float* up, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) gate[i] = gate[i] / (1.0f + exp_lane(-gate[i])) * up[i];
}

void gelu_mul(float* gate, const float* up, std::size_t count) {
  constexpr float kTwice = 1.5957691216057308f, kCubic = 0.071354816272600297f;  // 2 sqrt(2 / pi), times 0.044715
  for (std::size_t i = 0; i < count; ++i) {
    const float x = gate[i];
    gate[i] = x / (1.0f + exp_lane(-x * fused(x * x, kCubic, kTwice))) * up[i];
  }
}

void clamped_silu_mul(float* gate, const float* up, std::size_t count) {
  constexpr float kSlope = 1.702f, kLimit = 7.0f;
  for (std::size_t i = 0; i < count; ++i) {
    const float g = gate[i] > kLimit ? kLimit : gate[i];
    const float u = up[i] > kLimit ? kLimit : (up[i] < -kLimit ? -kLimit : up[i]);
    gate[i] = g / (1.0f + exp_lane(-g * kSlope)) * (u + 1.0f);
  }
}

void soft_cap(float* x, std::size_t count, float cap) {
  const float twice = 2.0f * cap, inverse = 2.0f / cap;
  for (std::size_t i = 0; i < count; ++i) x[i] = cap - twice / (1.0f + exp_lane(x[i] * inverse));
}

// For short rows: the sum goes in order.
void softmax(float* x, std::size_t count) {
  float max = x[0], sum = 0.0f;
  for (std::size_t i = 1; i < count; ++i) max = x[i] > max ? x[i] : max;
  for (std::size_t i = 0; i < count; ++i) x[i] = exp_lane(x[i] - max);
  for (std::size_t i = 0; i < count; ++i) sum += x[i];
  for (std::size_t i = 0; i < count; ++i) x[i] /= sum;
}

void add(float* x, const float* y, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) x[i] += y[i];
}

void rope_neighbours(float* x, const float* cos, const float* sin, std::size_t pairs) {
  for (std::size_t i = 0; i < pairs; ++i) {
    const float a = x[2 * i], b = x[2 * i + 1];
    x[2 * i] = fused(a, cos[i], -(b * sin[i]));
    x[2 * i + 1] = fused(a, sin[i], b * cos[i]);
  }
}

void rope_halves(float* x, const float* cos, const float* sin, std::size_t pairs) {
  for (std::size_t i = 0; i < pairs; ++i) {
    const float a = x[i], b = x[i + pairs];
    x[i] = fused(a, cos[i], -(b * sin[i]));
    x[i + pairs] = fused(a, sin[i], b * cos[i]);
  }
}

void merge_states(SoftmaxState a, SoftmaxState b, std::uint32_t rows, std::uint32_t head_dim) {
  for (std::uint32_t r = 0; r < rows; ++r) {
    if (b.max[r] == -__builtin_inff()) continue;  // b saw nothing
    const float max = a.max[r] > b.max[r] ? a.max[r] : b.max[r];
    const float keep = exp_lane(a.max[r] - max), take = exp_lane(b.max[r] - max);
    a.max[r] = max;
    a.sum[r] = fused(b.sum[r], take, a.sum[r] * keep);
    float* into = a.acc + std::size_t{r} * head_dim;
    const float* from = b.acc + std::size_t{r} * head_dim;
    for (std::uint32_t d = 0; d < head_dim; ++d) into[d] = fused(from[d], take, into[d] * keep);
  }
}

// Element types of raw pages, and rows of them.

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
