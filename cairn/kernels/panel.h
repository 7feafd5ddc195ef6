// SPDX-License-Identifier: Apache-2.0
// The in-memory layout of weights: the file's numbers, or its codes and scales, 16 rows interleaved so that a SIMD lane
// is a row. The same values at (nearly) the same size; only the order differs. docs/architecture.md draws it.
//
// A panel is 16 rows; it is a run of units along the columns, which kernels read as one stream (processors foresee one,
// not several); a unit holds, for 16 rows each:
//   F32, F16, BF16 (1 column)  the numbers
//   Q8_0    (32 columns)   f16 d | codes + 128, 8 quads
//   Q4_0    (32 columns)   f16 d | nibbles, 4 quad pairs
//   Q5_0    (32 columns)   as Q4_0 | fifth bits, bit q of a byte belonging to quad q
//   Q4_1    (32 columns)   f16 d | f16 -m | nibbles
//   Q5_1    (32 columns)   as Q4_1 | fifth bits
//   IQ4_NL  (32 columns)   as Q4_0
//   MXFP4   (32 columns)   u8 e | nibbles
//   Q2_K    (256 columns)  f16 d | f16 dmin | 16 x u8 scale | 16 x u8 min | 8 groups: 2 vectors of pairs of bits
//   Q3_K    (256 columns)  f16 d | 16 x i8 scale | 8 groups: 2 vectors of pairs, third bits
//   Q4_K    (256 columns)  f16 d | f16 dmin | 8 x u8 scale | 8 x u8 min | 8 groups: nibbles
//   Q5_K    (256 columns)  as Q4_K, each group with fifth bits
//   Q6_K    (256 columns)  f16 d | 16 x i8 scale | 8 groups: nibbles, 2 vectors of pairs, the upper bits
//   IQ4_XS  (256 columns)  f16 d | 8 x i8 scale | 8 groups: nibbles
// A quad is 4 consecutive columns of 16 rows, [16, 4] bytes: what one VNNI instruction eats. In a byte of nibbles the
// low half belongs to quad i and the high half to quad i + 4 of the same 32 columns; of a byte of pairs, pair j belongs
// to quad j in the first vector and to quad j + 4 in the second.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cairn/kernels/args.h"

namespace cairn {

inline constexpr std::uint32_t kQuads = kGroupValues / 4;  // of a group of 32 columns
inline constexpr std::size_t kQuadBytes = kPanelRows * 4;  // [16, 4]
inline constexpr std::uint32_t kChunkCols = 256;           // what kernels unpack at a time

struct PanelFormat {
  std::uint32_t unit_cols;
  std::uint32_t unit_bytes;  // of 16 rows
};

PanelFormat panel_format(WeightFormat format);

// Of a whole panel.
std::size_t panel_bytes(WeightFormat format, std::uint32_t cols);

// Packs the rows [16 panel, 16 panel + 16) of a row-major matrix in the file's layout into `out`, panel_bytes() long.
// Rows beyond `rows` become zero. Requires: cols is a multiple of the format's block.
void pack_panel(WeightFormat format, const std::byte* matrix, std::uint32_t rows, std::uint32_t cols,
                std::uint32_t panel, std::byte* out);

}  // namespace cairn
