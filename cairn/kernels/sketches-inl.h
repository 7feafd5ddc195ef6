// SPDX-License-Identifier: Apache-2.0
// What the middle of a sheet adds to its scores, in one order of operations.
#pragma once

#include "cairn/kernels/elementwise-inl.h"
#include "cairn/kernels/sketches.h"

namespace cairn {
namespace {

// What the middle adds to every score of a row.
inline float middle_score(const SketchSheet& sheet, const SketchQuery& query) {
  float lanes[kSumLanes] = {};
  for (std::uint32_t d = 0; d < sheet.depth; d += 8) {
    for (std::uint32_t l = 0; l < 8; ++l) {
      float& lane = lanes[d % kSumLanes + l];
      lane = fused(query.q[d + l], sheet.middle[d + l], lane);
    }
  }
  return sum_lanes(lanes);
}

}  // namespace
}  // namespace cairn
