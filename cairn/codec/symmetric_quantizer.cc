// SPDX-License-Identifier: Apache-2.0
#include "cairn/codec/symmetric_quantizer.h"

#include <algorithm>

#include "cairn/codec/small_scale.h"
#include "cairn/kernels/kernels.h"

namespace cairn {
namespace {

// What the kernels take: the value of code 0, the step and its inverse for each column.
struct Steps {
  float scale[kMaxChannels], inverse[kMaxChannels], offset[kMaxChannels];

  Steps(const SymmetricQuantizer& part, std::span<const std::uint8_t> scales) {
    const float middle = static_cast<float>(part.max_code) / 2.0f;
    for (std::size_t i = 0; i < scales.size(); ++i) {
      scale[i] = part.factor * small_scale(scales[i]);
      inverse[i] = scale[i] > 0.0f ? 1.0f / scale[i] : 0.0f;
      offset[i] = -middle * scale[i];
    }
  }
};

void add_error(const SymmetricQuantizer& part, std::span<const std::uint8_t> scales, float* error) {
  const Steps steps(part, scales);
  float mine[kMaxChannels];
  kernels().column_error(part.x, part.rows, static_cast<std::uint32_t>(scales.size()), steps.offset, steps.inverse,
                         steps.scale, part.max_code, mine);
  for (std::size_t c = 0; c < scales.size(); ++c) error[c] += mine[c];
}

}  // namespace

void SymmetricQuantizer::quantise(std::span<const std::uint8_t> scales, std::uint8_t* codes) const {
  const Steps steps(*this, scales);
  kernels().quantise_columns(x, rows, static_cast<std::uint32_t>(scales.size()), steps.offset, steps.inverse, max_code,
                             codes);
}

void choose_scales(std::span<const SymmetricQuantizer> parts, int candidates, std::span<std::uint8_t> scales) {
  const std::size_t cols = scales.size();
  float reach[kMaxChannels] = {};
  for (const SymmetricQuantizer& part : parts) {
    float low[kMaxChannels], high[kMaxChannels];
    kernels().column_range(part.x, part.rows, static_cast<std::uint32_t>(cols), low, high);
    const float most = part.factor * static_cast<float>(part.max_code) / 2.0f;
    for (std::size_t c = 0; c < cols; ++c) reach[c] = std::max(reach[c], std::max(-low[c], high[c]) / most);
  }
  std::uint8_t tried[kMaxChannels];
  for (std::size_t c = 0; c < cols; ++c) tried[c] = scales[c] = small_scale_above(reach[c]);
  if (candidates == 1) return;
  float least[kMaxChannels], error[kMaxChannels];
  for (int candidate = 0; candidate < candidates; ++candidate) {
    std::fill_n(error, cols, 0.0f);
    for (const SymmetricQuantizer& part : parts) add_error(part, {tried, cols}, error);
    for (std::size_t c = 0; c < cols; ++c) {
      if (candidate == 0 || error[c] < least[c]) {
        least[c] = error[c];
        scales[c] = tried[c];
      }
      if (tried[c] > 1) --tried[c];
    }
  }
}

}  // namespace cairn
