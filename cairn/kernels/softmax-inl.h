// SPDX-License-Identifier: Apache-2.0
// The definition of the online softmax step, for the sets without one of their own.
#pragma once

#include "cairn/kernels/elementwise-inl.h"

namespace cairn {
namespace {

void softmax_block(float* s, const std::uint64_t* masks, std::uint32_t rows, float* max, float* sum,
                   float* correction) {
  constexpr float kNothing = -__builtin_inff();
  for (std::uint32_t r = 0; r < rows; ++r) {
    float* row = s + r * kPageTokens;
    float largest = max[r];
    for (std::uint32_t t = 0; t < kPageTokens; ++t) {
      if (((masks[r] >> t) & 1) == 0) row[t] = kNothing;
      largest = row[t] > largest ? row[t] : largest;
    }
    const float base = largest == kNothing ? 0.0f : largest;
    float lanes[kSumLanes] = {};
    for (std::uint32_t t = 0; t < kPageTokens; ++t) {
      row[t] = exp_lane(row[t] - base);
      lanes[t % kSumLanes] += row[t];
    }
    correction[r] = exp_lane(max[r] - base);
    sum[r] = fused(sum[r], correction[r], sum_lanes(lanes));
    max[r] = largest;
  }
}

}  // namespace
}  // namespace cairn
