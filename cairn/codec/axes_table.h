// SPDX-License-Identifier: Apache-2.0
// The codebook of the codec of axes.cc. For one layer and slot:
//
//   matrices  [kv_heads][3][head_dim][head_dim] f32   forward, back and query, as Basis takes them (basis.h)
//   heads     [kv_heads] of AxesHead::bytes
//
// where a head is
//
//   shares  [4] bytes                 blocks of codes that stand for 1, 2, 4 and 8 channels each (CodeMatrix::shares)
//   zeros   12 bytes
//   mean    [head_dim] f32            x[t, c] = mean[c] + gain[t] * scale[c] * (level - 127.5), on the axes
//   scale   [head_dim] f32            not negative
//   weight  [head_dim] f32            root of what a squared error on this axis counts, for the encoder; positive
//   levels  [head_dim][16] bytes
//
// Axes come in the order of the shares. Heads of a layer may have different shares, so their pages have parts of
// different sizes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cairn/base/result.h"
#include "cairn/block/shape.h"
#include "cairn/kernels/codes.h"

namespace cairn::codecs {

inline constexpr std::uint32_t kAxesId = 72;
inline constexpr std::uint32_t kAxesLevels = 16;
inline constexpr float kAxesMiddle = 127.5f;
inline constexpr std::size_t kAxesMatrices = 3;

// Heads of the codec: whole blocks of codes for keys and for values.
constexpr bool axes_takes(std::uint32_t head_dim) {
  return head_dim % kValueShareBlock == 0 && head_dim <= kMaxChannels;
}

// Floats of the matrices of all heads.
constexpr std::size_t axes_matrix_floats(PageShape shape) {
  return kAxesMatrices * shape.kv_heads * std::size_t{shape.head_dim} * shape.head_dim;
}

// Of one head, within a table that is aligned for floats. Not owned.
struct AxesHead {
  const std::uint8_t* shares;
  const float* mean;
  const float* scale;
  const float* weight;
  const std::uint8_t* levels;

  static constexpr std::size_t bytes(std::uint32_t head_dim) {
    return 16 + 3 * sizeof(float) * std::size_t{head_dim} + kAxesLevels * std::size_t{head_dim};
  }
  static AxesHead of(PageShape shape, std::uint32_t kv_head, const std::byte* table) {
    const std::byte* head =
        table + axes_matrix_floats(shape) * sizeof(float) + kv_head * AxesHead::bytes(shape.head_dim);
    const auto* floats = reinterpret_cast<const float*>(head + 16);
    return {.shares = reinterpret_cast<const std::uint8_t*>(head),
            .mean = floats,
            .scale = floats + shape.head_dim,
            .weight = floats + 2 * std::size_t{shape.head_dim},
            .levels = reinterpret_cast<const std::uint8_t*>(floats + 3 * std::size_t{shape.head_dim})};
  }
};

// Bytes of one table.
constexpr std::size_t axes_table_bytes(PageShape shape) {
  return axes_matrix_floats(shape) * sizeof(float) + shape.kv_heads * AxesHead::bytes(shape.head_dim);
}

// Channels of a block of codes that stand for one each.
constexpr std::uint32_t axes_block(PageSlot slot) {
  return slot == PageSlot::kKeys ? kKeyShareBlock : kValueShareBlock;
}

// The table of one slot of a layer as the encoder and the kernels trust it: kCorrupt when shares do not make the head,
// or a number is not finite or out of its range.
Status check_axes_table(PageShape shape, PageSlot slot, std::span<const std::byte> table);

// The points that the code of one position of a block of codes chooses among, [16, width], times the weights: its
// `width` channels are `first`, first + axes_block(slot), ...
void axes_points(const AxesHead& head, PageSlot slot, std::uint32_t first, std::uint32_t width, float* points);

}  // namespace cairn::codecs
