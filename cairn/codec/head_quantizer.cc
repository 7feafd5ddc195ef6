// SPDX-License-Identifier: Apache-2.0
#include "cairn/codec/head_quantizer.h"

#include <algorithm>
#include <bit>

#include "cairn/base/half.h"
#include "cairn/kernels/kernels.h"

namespace cairn::codecs {
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

HeadBlock::HeadBlock(const PageFormat& format, const std::byte* open_page, std::uint32_t kv_head) {
  const std::uint32_t dim = format.shape.head_dim;
  const std::size_t values = std::size_t{dim} * kBlockTokens;
  const auto* halves = reinterpret_cast<const std::uint16_t*>(open_page) + kv_head * values;
  const bool keys = format.slot == PageSlot::kKeys;
  kernels().widen_f16(halves, values, keys ? by_channel_ : by_token_);
  if (keys) {
    kernels().transpose(by_channel_, dim, kBlockTokens, by_token_);
  } else {
    kernels().transpose(by_token_, kBlockTokens, dim, by_channel_);
  }
}

std::uint8_t code_at(const CodeMatrix& matrix, std::uint32_t lane, std::uint32_t depth) {
  const std::uint32_t quads = 8 / matrix.bits, per_vector = kCodeQuad * quads;
  const std::size_t vectors = (matrix.depth + per_vector - 1) / per_vector;
  const std::size_t vector = lane / kCodeLanes * vectors + depth / per_vector;
  const std::uint32_t within = depth % per_vector;
  const std::uint8_t byte = matrix.codes[vector * 64 + lane % kCodeLanes * kCodeQuad + within % kCodeQuad];
  return static_cast<std::uint8_t>(byte >> (within / kCodeQuad * matrix.bits) & ((1u << matrix.bits) - 1));
}

float small_scale(std::uint8_t code) {
  return f16_to_f32(static_cast<std::uint16_t>(code << 7));
}

// The least scale that is not below `wanted`, or the greatest there is. Requires: wanted is finite.
std::uint8_t small_scale_above(float wanted) {
  const std::uint32_t half = f32_to_f16(wanted > 0.0f ? wanted : 0.0f);
  std::uint32_t code = half >> 7;
  while (code < kMaxSmallScale && small_scale(static_cast<std::uint8_t>(code)) < wanted) ++code;
  return static_cast<std::uint8_t>(code < kMaxSmallScale ? code : kMaxSmallScale);
}

// The scale next to `wanted`; what is not above zero gives none, and what is too large the greatest there is.
std::uint8_t small_scale_nearest(float wanted) {
  if (!(wanted > 0.0f)) return 0;
  const float held = wanted < 61440.0f ? wanted : 61440.0f;
  const std::uint32_t code = (f32_to_f16(held) + 64u) >> 7;
  return static_cast<std::uint8_t>(code < kMaxSmallScale ? code : kMaxSmallScale);
}

// Any byte becomes a finite scale.
void widen_small_scales(const std::uint8_t* codes, std::size_t count, float* out) {
  constexpr std::size_t kPiece = 64;
  std::uint16_t halves[kPiece];
  for (std::size_t done = 0; done < count; done += kPiece) {
    const std::size_t n = count - done < kPiece ? count - done : kPiece;
    for (std::size_t i = 0; i < n; ++i) {
      const std::uint8_t code = codes[done + i];
      halves[i] = static_cast<std::uint16_t>((code < kMaxSmallScale ? code : kMaxSmallScale) << 7);
    }
    kernels().widen_f16(halves, n, out + done);
  }
}

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
    const float reached = part.factor * static_cast<float>(part.max_code) / 2.0f;
    for (std::size_t c = 0; c < cols; ++c) reach[c] = std::max(reach[c], std::max(-low[c], high[c]) / reached);
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

void add_means(const float* mean, std::uint32_t dim, const float* p, float* acc) {
  constexpr std::uint32_t kLanes = 16;
  float sums[kLanes] = {};
  for (std::uint32_t t = 0; t < kBlockTokens; t += kLanes) {
    for (std::uint32_t i = 0; i < kLanes; ++i) sums[i] += p[t + i];
  }
  for (std::uint32_t half = kLanes / 2; half > 0; half /= 2) {
    for (std::uint32_t i = 0; i < half; ++i) sums[i] += sums[i + half];
  }
  for (std::uint32_t d = 0; d < dim; ++d) acc[d] += sums[0] * mean[d];
}

}  // namespace cairn::codecs
