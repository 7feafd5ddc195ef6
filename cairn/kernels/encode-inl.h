// SPDX-License-Identifier: Apache-2.0
// The steps of an encoder as plain loops that every instruction set vectorises for itself (see elementwise-inl.h).
#pragma once

#include "cairn/kernels/codes.h"
#include "cairn/kernels/elementwise-inl.h"

namespace cairn {
namespace {

// Not-a-number counts for nothing.
void column_range(const float* x, std::uint32_t rows, std::uint32_t cols, float* low, float* high) {
  for (std::uint32_t c = 0; c < cols; ++c) {
    low[c] = __builtin_inff();
    high[c] = -__builtin_inff();
  }
  for (std::uint32_t r = 0; r < rows; ++r) {
    const float* row = x + std::size_t{r} * cols;
    for (std::uint32_t c = 0; c < cols; ++c) {
      low[c] = row[c] < low[c] ? row[c] : low[c];
      high[c] = row[c] > high[c] ? row[c] : high[c];
    }
  }
}

// An integer as a float; not-a-number becomes 0.
inline float nearest_code(float x, float offset, float inverse, float most) {
  float value = (x - offset) * inverse;
  value = value > 0.0f ? value : 0.0f;
  return __builtin_nearbyintf(value < most ? value : most);
}

void quantise_columns(const float* x, std::uint32_t rows, std::uint32_t cols, const float* offset, const float* inverse,
                      std::uint32_t most, std::uint8_t* codes) {
  const auto top = static_cast<float>(most);
  for (std::uint32_t r = 0; r < rows; ++r) {
    const float* row = x + std::size_t{r} * cols;
    std::uint8_t* to = codes + std::size_t{r} * cols;
    for (std::uint32_t c = 0; c < cols; ++c) {
      to[c] = static_cast<std::uint8_t>(static_cast<std::int32_t>(nearest_code(row[c], offset[c], inverse[c], top)));
    }
  }
}

void column_error(const float* x, std::uint32_t rows, std::uint32_t cols, const float* offset, const float* inverse,
                  const float* scale, std::uint32_t most, float* error) {
  const auto top = static_cast<float>(most);
  for (std::uint32_t c = 0; c < cols; ++c) error[c] = 0.0f;
  for (std::uint32_t r = 0; r < rows; ++r) {
    const float* row = x + std::size_t{r} * cols;
    for (std::uint32_t c = 0; c < cols; ++c) {
      const float distance = row[c] - fused(scale[c], nearest_code(row[c], offset[c], inverse[c], top), offset[c]);
      error[c] = fused(distance, distance, error[c]);
    }
  }
}

void transpose(const float* x, std::uint32_t rows, std::uint32_t cols, float* out) {
  constexpr std::uint32_t kTile = 16;  // a cache line of either side is used up before it goes
  for (std::uint32_t r0 = 0; r0 < rows; r0 += kTile) {
    const std::uint32_t r1 = rows - r0 < kTile ? rows : r0 + kTile;
    for (std::uint32_t c0 = 0; c0 < cols; c0 += kTile) {
      const std::uint32_t c1 = cols - c0 < kTile ? cols : c0 + kTile;
      for (std::uint32_t c = c0; c < c1; ++c) {
        for (std::uint32_t r = r0; r < r1; ++r) out[std::size_t{c} * rows + r] = x[std::size_t{r} * cols + c];
      }
    }
  }
}

// Four depths of 16 lanes, one word per lane, the first depth in the lowest byte.
inline void quad_by_lane(const std::uint8_t* from, std::size_t lane_stride, std::uint32_t* quad) {
  for (std::uint32_t i = 0; i < kCodeLanes; ++i) __builtin_memcpy(quad + i, from + i * lane_stride, 4);
}
inline void quad_by_depth(const std::uint8_t* from, std::size_t depth_stride, std::uint32_t* quad) {
  const std::uint8_t *a = from, *b = a + depth_stride, *c = b + depth_stride, *d = c + depth_stride;
  for (std::uint32_t i = 0; i < kCodeLanes; ++i) {
    quad[i] = std::uint32_t{a[i]} | std::uint32_t{b[i]} << 8 | std::uint32_t{c[i]} << 16 | std::uint32_t{d[i]} << 24;
  }
}

void pack_codes(const std::uint8_t* codes, std::size_t depth_stride, std::size_t lane_stride, std::uint32_t lanes,
                std::uint32_t depth, std::uint32_t bits, std::uint8_t* out) {
  for (std::uint32_t lane = 0; lane < lanes; lane += kCodeLanes) {
    const std::uint32_t width = lanes - lane < kCodeLanes ? lanes - lane : kCodeLanes;
    for (std::uint32_t first = 0; first < depth; first += 32 / bits) {
      std::uint32_t words[kCodeLanes] = {};
      for (std::uint32_t k = 0; k < 8 / bits && first + k * kCodeQuad < depth; ++k) {
        const std::uint32_t at = first + k * kCodeQuad;
        const std::uint8_t* from = codes + at * depth_stride + lane * lane_stride;
        std::uint32_t quad[kCodeLanes] = {};
        if (width < kCodeLanes || depth - at < kCodeQuad) {
          for (std::uint32_t j = 0; j < kCodeQuad && at + j < depth; ++j) {
            for (std::uint32_t i = 0; i < width; ++i)
              quad[i] |= std::uint32_t{from[j * depth_stride + i * lane_stride]} << (8 * j);
          }
        } else if (depth_stride == 1) {
          quad_by_lane(from, lane_stride, quad);
        } else {
          quad_by_depth(from, depth_stride, quad);
        }
        for (std::uint32_t i = 0; i < kCodeLanes; ++i) words[i] |= quad[i] << (bits * k);
      }
      __builtin_memcpy(out, words, sizeof(words));
      out += sizeof(words);
    }
  }
}

void hadamard(float* x, std::uint32_t width) {
  const std::uint32_t run = width & (~width + 1);  // the lowest bit that is set
  for (std::uint32_t half = 1; half < run; half *= 2) {
    for (std::uint32_t i = 0; i < width; i += 2 * half) {
      for (std::uint32_t j = i; j < i + half; ++j) {
        const float a = x[j], b = x[j + half];
        x[j] = a + b;
        x[j + half] = a - b;
      }
    }
  }
  const auto scale = static_cast<float>(1.0 / __builtin_sqrt(static_cast<double>(run)));
  for (std::uint32_t i = 0; i < width; ++i) x[i] *= scale;
}

}  // namespace
}  // namespace cairn
