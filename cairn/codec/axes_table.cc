// SPDX-License-Identifier: Apache-2.0
#include "cairn/codec/axes_table.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace cairn::codecs {
namespace {

std::unexpected<Error> wrong(const std::string& what) {
  return fail(ErrorCode::kCorrupt, "the table of codec 'axes' is wrong: " + what);
}

bool all_finite(std::span<const float> values) {
  return std::ranges::all_of(values, [](float value) { return std::isfinite(value); });
}

}  // namespace

Status check_axes_table(PageShape shape, PageSlot slot, std::span<const std::byte> table) {
  if (!axes_takes(shape.head_dim)) return wrong("heads of " + std::to_string(shape.head_dim) + " channels");
  if (table.size() != axes_table_bytes(shape)) return wrong("it has " + std::to_string(table.size()) + " bytes");
  const auto* matrices = reinterpret_cast<const float*>(table.data());
  if (!all_finite({matrices, axes_matrix_floats(shape)})) return wrong("a matrix holds what is not a finite number");
  const std::size_t dim = shape.head_dim;
  for (std::uint32_t h = 0; h < shape.kv_heads; ++h) {
    const AxesHead head = AxesHead::of(shape, h, table.data());
    if (share_extents(head.shares).reads != dim / axes_block(slot)) {
      return wrong("the blocks of KV head " + std::to_string(h) + " do not make its channels");
    }
    if (!all_finite({head.mean, 3 * dim})) return wrong("a mean, scale or weight is not a finite number");
    if (std::ranges::any_of(std::span(head.scale, dim), [](float scale) { return scale < 0.0f; })) {
      return wrong("a scale is negative");
    }
    if (std::ranges::any_of(std::span(head.weight, dim), [](float weight) { return weight <= 0.0f; })) {
      return wrong("a weight is not positive");
    }
  }
  return {};
}

void axes_points(const AxesHead& head, PageSlot slot, std::uint32_t first, std::uint32_t width, float* points) {
  for (std::uint32_t code = 0; code < kAxesLevels; ++code) {
    for (std::uint32_t i = 0; i < width; ++i) {
      const std::uint32_t c = first + i * axes_block(slot);
      const float level = static_cast<float>(head.levels[c * kAxesLevels + code]) - kAxesMiddle;
      points[code * width + i] = head.weight[c] * head.scale[c] * level;
    }
  }
}

}  // namespace cairn::codecs
