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
inline float nearest_code(float x, float offset, float inverse, float max_code) {
  float value = (x - offset) * inverse;
  value = value > 0.0f ? value : 0.0f;
  return __builtin_nearbyintf(value < max_code ? value : max_code);
}

void quantise_columns(const float* x, std::uint32_t rows, std::uint32_t cols, const float* offset, const float* inverse,
                      std::uint32_t max_code, std::uint8_t* codes) {
  const auto top = static_cast<float>(max_code);
  for (std::uint32_t r = 0; r < rows; ++r) {
    const float* row = x + std::size_t{r} * cols;
    std::uint8_t* to = codes + std::size_t{r} * cols;
    for (std::uint32_t c = 0; c < cols; ++c) {
      to[c] = static_cast<std::uint8_t>(static_cast<std::int32_t>(nearest_code(row[c], offset[c], inverse[c], top)));
    }
  }
}

void column_error(const float* x, std::uint32_t rows, std::uint32_t cols, const float* offset, const float* inverse,
                  const float* scale, std::uint32_t max_code, float* error) {
  const auto top = static_cast<float>(max_code);
  for (std::uint32_t c = 0; c < cols; ++c) error[c] = 0.0f;
  for (std::uint32_t r = 0; r < rows; ++r) {
    const float* row = x + std::size_t{r} * cols;
    for (std::uint32_t c = 0; c < cols; ++c) {
      const float distance = row[c] - fused(scale[c], nearest_code(row[c], offset[c], inverse[c], top), offset[c]);
      error[c] = fused(distance, distance, error[c]);
    }
  }
}

// Where the compiler finds no vectors in a loop, it is given them.
using Four = float __attribute__((vector_size(16)));

template <class V>
[[gnu::always_inline]] inline void load_vector(const float* p, V& v) {
  __builtin_memcpy(&v, p, sizeof(v));
}

void transpose(const float* x, std::uint32_t rows, std::uint32_t cols, float* out) {
  const std::uint32_t whole_rows = rows / 4 * 4, whole_cols = cols / 4 * 4;
  for (std::uint32_t r = 0; r < whole_rows; r += 4) {
    for (std::uint32_t c = 0; c < whole_cols; c += 4) {
      const float* from = x + std::size_t{r} * cols + c;
      float* to = out + std::size_t{c} * rows + r;
      Four v0, v1, v2, v3;
      load_vector(from, v0);
      load_vector(from + cols, v1);
      load_vector(from + 2 * std::size_t{cols}, v2);
      load_vector(from + 3 * std::size_t{cols}, v3);
      const Four a = __builtin_shufflevector(v0, v2, 0, 4, 1, 5), b = __builtin_shufflevector(v1, v3, 0, 4, 1, 5);
      const Four d = __builtin_shufflevector(v0, v2, 2, 6, 3, 7), e = __builtin_shufflevector(v1, v3, 2, 6, 3, 7);
      const Four columns[4] = {__builtin_shufflevector(a, b, 0, 4, 1, 5), __builtin_shufflevector(a, b, 2, 6, 3, 7),
                               __builtin_shufflevector(d, e, 0, 4, 1, 5), __builtin_shufflevector(d, e, 2, 6, 3, 7)};
      for (std::size_t i = 0; i < 4; ++i) __builtin_memcpy(to + i * rows, &columns[i], sizeof(Four));
    }
  }
  for (std::uint32_t c = 0; c < cols; ++c) {
    for (std::uint32_t r = c < whole_cols ? whole_rows : 0; r < rows; ++r)
      out[std::size_t{c} * rows + r] = x[std::size_t{r} * cols + c];
  }
}

// Four depths of 16 lanes, one word per lane, the first depth in the lowest byte.
using LaneWords = std::uint32_t __attribute__((vector_size(16)));

inline void quad_by_lane(const std::uint8_t* from, std::size_t lane_stride, LaneWords (&quad)[4]) {
  for (auto& words : quad) {
    std::uint32_t lanes[4];
    for (std::uint32_t& lane : lanes) {
      __builtin_memcpy(&lane, from, sizeof(lane));
      from += lane_stride;
    }
    words = LaneWords{lanes[0], lanes[1], lanes[2], lanes[3]};
  }
}

inline void quad_by_depth(const std::uint8_t* from, std::size_t depth_stride, LaneWords (&quad)[4]) {
  using Bytes = std::uint8_t __attribute__((vector_size(16)));
  using Pairs = std::uint16_t __attribute__((vector_size(16)));
  Bytes v[4];
  for (std::uint32_t j = 0; j < 4; ++j) __builtin_memcpy(&v[j], from + j * depth_stride, sizeof(Bytes));
  const auto low = [](Bytes a, Bytes b) {
    return Pairs(__builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23));
  };
  const auto high = [](Bytes a, Bytes b) {
    return Pairs(__builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31));
  };
  const Pairs first[2] = {low(v[0], v[1]), high(v[0], v[1])}, second[2] = {low(v[2], v[3]), high(v[2], v[3])};
  for (int i = 0; i < 2; ++i) {
    quad[2 * i] = LaneWords(__builtin_shufflevector(first[i], second[i], 0, 8, 1, 9, 2, 10, 3, 11));
    quad[2 * i + 1] = LaneWords(__builtin_shufflevector(first[i], second[i], 4, 12, 5, 13, 6, 14, 7, 15));
  }
}

void pack_codes(const std::uint8_t* codes, std::size_t depth_stride, std::size_t lane_stride, std::uint32_t lanes,
                std::uint32_t depth, std::uint32_t bits, std::uint8_t* out) {
  for (std::uint32_t lane = 0; lane < lanes; lane += kCodeLanes) {
    const std::uint32_t width = lanes - lane < kCodeLanes ? lanes - lane : kCodeLanes;
    for (std::uint32_t first = 0; first < depth; first += 32 / bits) {
      LaneWords words[4] = {};
      for (std::uint32_t k = 0; k < 8 / bits && first + k * kCodeQuad < depth; ++k) {
        const std::uint32_t at = first + k * kCodeQuad;
        const std::uint8_t* from = codes + at * depth_stride + lane * lane_stride;
        LaneWords quad[4] = {};
        if (width < kCodeLanes || depth - at < kCodeQuad) {
          for (std::uint32_t j = 0; j < kCodeQuad && at + j < depth; ++j) {
            for (std::uint32_t i = 0; i < width; ++i)
              quad[i / 4][i % 4] |= std::uint32_t{from[j * depth_stride + i * lane_stride]} << (8 * j);
          }
        } else if (depth_stride == 1) {
          quad_by_lane(from, lane_stride, quad);
        } else {
          quad_by_depth(from, depth_stride, quad);
        }
        for (int i = 0; i < 4; ++i) words[i] |= quad[i] << (bits * k);  // codes are small: no bit leaves its byte
      }
      __builtin_memcpy(out, words, sizeof(words));
      out += sizeof(words);
    }
  }
}

void hadamard(float* x, std::uint32_t width) {
  const std::uint32_t run = width & (~width + 1);  // the lowest bit that is set
  std::uint32_t half = 1;
  if (run >= 4) {  // two steps inside a vector; a + b * -1 is a - b
    for (std::uint32_t i = 0; i < width; i += 4) {
      Four v;
      load_vector(x + i, v);
      v = __builtin_shufflevector(v, v, 0, 0, 2, 2) + __builtin_shufflevector(v, v, 1, 1, 3, 3) * Four{1, -1, 1, -1};
      v = __builtin_shufflevector(v, v, 0, 1, 0, 1) + __builtin_shufflevector(v, v, 2, 3, 2, 3) * Four{1, 1, -1, -1};
      __builtin_memcpy(x + i, &v, sizeof(v));
    }
    half = 4;
  }
  for (; half < run; half *= 2) {
    const std::uint32_t step = half < 4 ? 1 : 4;
    for (std::uint32_t i = 0; i < width; i += 2 * half) {
      float *low = x + i, *high = low + half;
      for (std::uint32_t j = 0; j < half; j += step) {
        if (step == 1) {
          const float a = low[j], b = high[j];
          low[j] = a + b;
          high[j] = a - b;
        } else {
          Four a, b;
          load_vector(low + j, a);
          load_vector(high + j, b);
          const Four sum = a + b, difference = a - b;
          __builtin_memcpy(low + j, &sum, sizeof(sum));
          __builtin_memcpy(high + j, &difference, sizeof(difference));
        }
      }
    }
  }
  const auto scale = static_cast<float>(1.0 / __builtin_sqrt(static_cast<double>(run)));
  for (std::uint32_t i = 0; i < width; ++i) x[i] *= scale;
}

}  // namespace
}  // namespace cairn
