// SPDX-License-Identifier: Apache-2.0
// Keys in two bits a channel, laid out to answer one question: which boxes hold a key that a query looks at. The lanes
// of a vector are 16 boxes, so that the greatest score of each is a vertical maximum, and a box costs 16 dot products
// of small integers and nothing across lanes.
#pragma once

#include <cstdint>

#include "cairn/kernels/args.h"

namespace cairn {

// Boxes of a sheet, side by side.
inline constexpr std::uint32_t kSketchBoxes = 16;
// Channels of one 64-byte vector: four bytes a lane, four codes a byte.
inline constexpr std::uint32_t kSketchChannels = 16;

constexpr std::uint32_t sketch_vectors(std::uint32_t depth) {
  return (depth + kSketchChannels - 1) / kSketchChannels;
}

// One KV head of 16 boxes: K[b, t, d] = middle[d] + scale[t, b] * (2 * code - 3).
struct SketchSheet {
  // [kPageBoxTokens, sketch_vectors(depth), 64]: byte 4 * b + j of a vector belongs to box b and to its channels j,
  // 4 + j, 8 + j and 12 + j, the first in the lowest bits. What stands for channels past the depth is not looked at.
  const std::uint8_t* codes = nullptr;
  const std::uint16_t* scales = nullptr;  // f16 [kPageBoxTokens, kSketchBoxes]
  const float* middle = nullptr;          // [depth]
  std::uint32_t depth = 0;                // channels, a multiple of 8
};

// A query that was rounded to bytes: q[d] is about scale * codes[d].
struct SketchQuery {
  const float* q = nullptr;            // [depth]
  const std::int8_t* codes = nullptr;  // [sketch_vectors(depth) * kSketchChannels], zero from depth on
  float scale = 0;                     // not negative
  std::int32_t sum = 0;                // of the codes
};

}  // namespace cairn
