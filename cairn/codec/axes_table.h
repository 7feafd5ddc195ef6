// SPDX-License-Identifier: Apache-2.0
// The codebook of the codec of axes.cc. For one layer and slot:
//
//   matrices  [kv_heads][3][head_dim][head_dim] f32   forward, back and query, as Basis takes them (basis.h)
//   heads     [kv_heads], AxesPlaces
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

// Where the parts of one head lie in a table: bytes from its beginning.
struct AxesPlaces {
  std::size_t shares, mean, scale, weight, levels, end;

  static constexpr AxesPlaces of(PageShape shape, std::uint32_t kv_head) {
    const std::size_t dim = shape.head_dim, floats = sizeof(float) * dim, bytes = 16 + 3 * floats + kAxesLevels * dim;
    const std::size_t begin = axes_matrix_floats(shape) * sizeof(float) + kv_head * bytes;
    return {.shares = begin,
            .mean = begin + 16,
            .scale = begin + 16 + floats,
            .weight = begin + 16 + 2 * floats,
            .levels = begin + 16 + 3 * floats,
            .end = begin + bytes};
  }
};

// One head of a table that is aligned for floats. Not owned.
struct AxesHead {
  const std::uint8_t* shares;
  const float* mean;
  const float* scale;
  const float* weight;
  const std::uint8_t* levels;

  static AxesHead of(PageShape shape, std::uint32_t kv_head, const std::byte* table) {
    const AxesPlaces at = AxesPlaces::of(shape, kv_head);
    return {.shares = reinterpret_cast<const std::uint8_t*>(table + at.shares),
            .mean = reinterpret_cast<const float*>(table + at.mean),
            .scale = reinterpret_cast<const float*>(table + at.scale),
            .weight = reinterpret_cast<const float*>(table + at.weight),
            .levels = reinterpret_cast<const std::uint8_t*>(table + at.levels)};
  }
};

// Bytes of one table.
constexpr std::size_t axes_table_bytes(PageShape shape) {
  return AxesPlaces::of(shape, shape.kv_heads - 1).end;
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
