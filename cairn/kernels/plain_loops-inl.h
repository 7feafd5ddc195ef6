// SPDX-License-Identifier: Apache-2.0
// The definitions of the online softmax step and of the nearest centroids, for the sets without one of their own.
#pragma once

#include "cairn/kernels/elementwise-inl.h"
#include "cairn/kernels/rans-inl.h"
#include "cairn/kernels/sketches-inl.h"

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

inline constexpr std::uint32_t kNearestColumns = 64, kBounds = 15, kLevels = 16;

void quantise_levels(const float* x, std::uint32_t rows, std::uint32_t cols, const float* bounds, const float* inverse,
                     std::uint8_t* codes) {
  for (std::uint32_t first = 0; first < cols; first += kNearestColumns) {
    const std::uint32_t count = cols - first < kNearestColumns ? cols - first : kNearestColumns;
    for (std::uint32_t r = 0; r < rows; ++r) {
      const std::size_t at = std::size_t{r} * cols + first;
      float units[kNearestColumns];
      std::int32_t below[kNearestColumns] = {};
      for (std::uint32_t c = 0; c < count; ++c) units[c] = x[at + c] * inverse[first + c];
      for (std::uint32_t k = 0; k < kBounds; ++k) {
        const float bound = bounds[r * kBounds + k];
        for (std::uint32_t c = 0; c < count; ++c) below[c] += bound < units[c] ? 1 : 0;
      }
      for (std::uint32_t c = 0; c < count; ++c) codes[at + c] = static_cast<std::uint8_t>(below[c]);
    }
  }
}

void level_error(const float* x, std::uint32_t rows, std::uint32_t cols, const float* bounds, const float* levels,
                 const float* inverse, const float* scale, float* error) {
  for (std::uint32_t first = 0; first < cols; first += kNearestColumns) {
    const std::uint32_t count = cols - first < kNearestColumns ? cols - first : kNearestColumns;
    float errors[kNearestColumns] = {};
    for (std::uint32_t r = 0; r < rows; ++r) {
      const float* row = x + std::size_t{r} * cols + first;
      float units[kNearestColumns], nearest[kNearestColumns];
      for (std::uint32_t c = 0; c < count; ++c) {
        units[c] = row[c] * inverse[first + c];
        nearest[c] = levels[r * kLevels];
      }
      for (std::uint32_t k = 0; k < kBounds; ++k) {
        const float bound = bounds[r * kBounds + k], level = levels[r * kLevels + k + 1];
        for (std::uint32_t c = 0; c < count; ++c) nearest[c] = bound < units[c] ? level : nearest[c];
      }
      for (std::uint32_t c = 0; c < count; ++c) {
        const float distance = fused(-scale[first + c], nearest[c], row[c]);
        errors[c] = fused(distance, distance, errors[c]);
      }
    }
    for (std::uint32_t c = 0; c < count; ++c) error[first + c] = errors[c];
  }
}

void nearest_points(const float* x, const float* y, std::uint32_t cols, const float* points, std::uint32_t count,
                    std::uint8_t* nearest, float* distance) {
  for (std::uint32_t first = 0; first < cols; first += kNearestColumns) {
    const std::uint32_t some = cols - first < kNearestColumns ? cols - first : kNearestColumns;
    float least[kNearestColumns], far[kNearestColumns];
    std::int32_t best[kNearestColumns] = {};
    for (std::uint32_t c = 0; c < some; ++c) least[c] = __builtin_inff();
    for (std::uint32_t k = 0; k < count; ++k) {
      const float px = points[2 * k], py = points[2 * k + 1];
      const auto number = static_cast<std::int32_t>(k);
      for (std::uint32_t c = 0; c < some; ++c) {
        const float dx = x[first + c] - px, dy = y[first + c] - py;
        far[c] = fused(dx, dx, dy * dy);
      }
      for (std::uint32_t c = 0; c < some; ++c) best[c] = far[c] < least[c] ? number : best[c];
      for (std::uint32_t c = 0; c < some; ++c) least[c] = far[c] < least[c] ? far[c] : least[c];
    }
    for (std::uint32_t c = 0; c < some; ++c) {
      nearest[first + c] = static_cast<std::uint8_t>(best[c]);
      distance[first + c] = least[c];
    }
  }
}

// Integers are exact, and floats have one order.
void sketch_tops(const SketchSheet& sheet, const SketchQuery* queries, std::uint32_t rows, PrefetchHint, float* tops) {
  const std::uint32_t vectors = sketch_vectors(sheet.depth);
  for (std::uint32_t r = 0; r < rows; ++r) {
    float best[kSketchBoxes];
    for (float& top : best) top = -__builtin_inff();
    const std::uint8_t* at = sheet.codes;
    for (std::uint32_t t = 0; t < kPageBoxTokens; ++t) {
      std::int32_t dots[kSketchBoxes] = {};
      for (std::uint32_t v = 0; v < vectors; ++v, at += 64) {
        const std::int8_t* q = queries[r].codes + v * kSketchChannels;
        for (std::uint32_t b = 0; b < kSketchBoxes; ++b) {
          for (std::uint32_t d = 0; d < kSketchChannels; ++d) {
            dots[b] += (at[b * 4 + d % 4] >> d / 4 * 2 & 3) * q[d];
          }
        }
      }
      for (std::uint32_t b = 0; b < kSketchBoxes; ++b) {
        const float score =
            static_cast<float>(2 * dots[b] - 3 * queries[r].sum) * f16_to_f32(sheet.scales[t * kSketchBoxes + b]);
        best[b] = score > best[b] ? score : best[b];
      }
    }
    const float base = middle_score(sheet, queries[r]);
    for (std::uint32_t b = 0; b < kSketchBoxes; ++b) {
      tops[r * kSketchBoxes + b] = fused(best[b], queries[r].scale, base);
    }
  }
}

void nearest_codes(const float* x, std::size_t x_stride, std::uint32_t width, const float* points,
                   std::uint8_t* nearest, float* distance, float* energy) {
  constexpr std::uint32_t kPoints = 16, kLanes = 16;
  float lengths[kPoints] = {};
  for (std::uint32_t p = 0; p < kPoints; ++p) {
    for (std::uint32_t d = 0; d < width; ++d)
      lengths[p] = fused(points[p * width + d], points[p * width + d], lengths[p]);
  }
  for (std::uint32_t first = 0; first < kPageTokens; first += kLanes) {
    float least[kLanes], length[kLanes];
    std::int32_t best[kLanes] = {};
    for (std::uint32_t i = 0; i < kLanes; ++i) {
      least[i] = __builtin_inff();
      length[i] = lengths[0];
    }
    for (std::uint32_t p = 0; p < kPoints; ++p) {
      float sum[kLanes] = {};
      for (std::uint32_t d = 0; d < width; ++d) {
        const float* row = x + d * x_stride + first;
        const float point = points[p * width + d];
        for (std::uint32_t i = 0; i < kLanes; ++i) {
          const float apart = row[i] - point;
          sum[i] = fused(apart, apart, sum[i]);
        }
      }
      for (std::uint32_t i = 0; i < kLanes; ++i) {
        best[i] = sum[i] < least[i] ? static_cast<std::int32_t>(p) : best[i];
        length[i] = sum[i] < least[i] ? lengths[p] : length[i];
        least[i] = sum[i] < least[i] ? sum[i] : least[i];
      }
    }
    for (std::uint32_t i = 0; i < kLanes; ++i) {
      nearest[first + i] = static_cast<std::uint8_t>(best[i]);
      distance[first + i] += least[i];
      energy[first + i] += length[i];
    }
  }
}

bool read_symbols(const std::uint32_t* slots, std::uint32_t count, RansWords& words, std::uint8_t* symbols) {
  return read_symbols_plain(slots, count, words, symbols);
}

}  // namespace
}  // namespace cairn
