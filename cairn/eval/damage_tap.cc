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

}  // namespace

DamageTap::DamageTap(const EvalRecipe& recipe, PageShape shape, const RopeSpec& rope)
    : recipe_(recipe), shape_(shape), shift_(rope, 0, -std::int64_t{recipe.shift}) {}

void DamageTap::change(std::uint32_t, std::int32_t, float* k, float* v) const {
  const std::size_t dim = shape_.head_dim;
  for (std::uint32_t h = 0; h < shape_.kv_heads; ++h, k += dim, v += dim) {
    if (h < recipe_.zero_heads) {
      std::fill_n(k, dim, 0.0f);
      std::fill_n(v, dim, 0.0f);
      continue;
    }
    if (recipe_.value_bits != 0) round_to_levels({v, dim}, recipe_.value_bits);
    shift_.apply({k, dim}, shape_.head_dim);
  }
}

}  // namespace cairn
