// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/damage_tap.h"

#include <algorithm>
#include <cmath>
#include <span>

namespace cairn {
namespace {

// One bit keeps the signs and the mean magnitude; more bits are evenly spaced levels from the least to the greatest.
void round_to_levels(std::span<float> x, std::uint32_t bits) {
  if (bits == 1) {
    float sum = 0;
    for (const float value : x) sum += std::fabs(value);
    const float magnitude = sum / static_cast<float>(x.size());
    for (float& value : x) value = std::copysign(magnitude, value);
    return;
  }
  const auto [low, high] = std::ranges::minmax(x);
  const float step = (high - low) / static_cast<float>((1u << bits) - 1);
  if (step == 0) return;
  for (float& value : x) value = low + std::round((value - low) / step) * step;
}

void turn_pair(float& a, float& b, float cos, float sin) {
  const float turned = a * cos - b * sin;
  b = a * sin + b * cos;
  a = turned;
}

}  // namespace

DamageTap::DamageTap(const EvalRecipe& recipe, PageShape shape, const RopeSpec& rope)
    : recipe_(recipe), shape_(shape), pairing_(rope.pairing), cos_(rope.dims / 2), sin_(rope.dims / 2) {
  // Magnitude 1: the keys are scaled already.
  rope_cos_sin(rope.inverse_frequencies(), 1.0, -std::int64_t{recipe.shift}, cos_, sin_);
}

void DamageTap::change(std::uint32_t, std::int32_t, float* k, float* v) const {
  const std::size_t dim = shape_.head_dim, pairs = cos_.size();
  for (std::uint32_t h = 0; h < shape_.kv_heads; ++h, k += dim, v += dim) {
    if (h < recipe_.zero_heads) {
      std::fill_n(k, dim, 0.0f);
      std::fill_n(v, dim, 0.0f);
      continue;
    }
    if (recipe_.value_bits != 0) round_to_levels({v, dim}, recipe_.value_bits);
    if (recipe_.shift == 0) continue;
    for (std::size_t i = 0; i < pairs; ++i) {
      if (pairing_ == RopePairing::kNeighbours) {
        turn_pair(k[2 * i], k[2 * i + 1], cos_[i], sin_[i]);
      } else {
        turn_pair(k[i], k[i + pairs], cos_[i], sin_[i]);
      }
    }
  }
}

}  // namespace cairn
