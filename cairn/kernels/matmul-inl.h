// SPDX-License-Identifier: Apache-2.0
// The loop nest of the quantised product, shared by every instruction set; `Dot` supplies the innermost step.
// It decides only what is near in the cache: each output's sums run over the groups of columns in ascending order,
// whatever the number of rows, so a row's result does not depend on its company.
#pragma once

#include "cairn/kernels/unpack-inl.h"

namespace cairn {
namespace {

inline std::uint32_t smaller(std::uint32_t a, std::uint32_t b) {
  return a < b ? a : b;
}

// Rows (in whole tiles) and panels whose running sums are kept at once: 4 * 240 * 64 bytes, inside the second-level
// cache.
constexpr std::uint32_t kBlockRows = 20 * kTileRows;
constexpr std::uint32_t kBlockPanels = 4;

// One tile's activations from a given column on.
struct TileView {
  const std::int8_t* codes;
  const float* scales;
  const std::int32_t* biases;
  const float* sums;
  std::uint32_t rows;  // n: interleave of the arrays
};

inline TileView tile_view(const ActivationTiles& a, std::uint32_t tile, std::uint32_t col) {
  const std::size_t before = std::size_t{tile} * kTileRows;
  const std::uint32_t n = smaller(kTileRows, a.rows - tile * kTileRows);
  return {a.codes + before * a.cols + std::size_t{col} * n,
          a.scales + before * (a.cols / 32) + std::size_t{col / 32} * n,
          a.biases + before * (a.cols / 16) + std::size_t{col / 16} * n,
          a.sums + before * (a.cols / 32) + std::size_t{col / 32} * n, n};
}

// Dot::step<Format, T>(chunk, tile, offset, acc) adds the chunk's products for rows [offset, offset + T) of a tile to
// acc [T, 16].
template <class Dot, class Format>
inline void dot_tile(const Chunk& chunk, const TileView& tile, float* acc) {
  if (tile.rows == kTileRows) return Dot::template step<Format, kTileRows>(chunk, tile, 0, acc);
  std::uint32_t r = 0;
  for (; r + 4 <= tile.rows; r += 4) Dot::template step<Format, 4>(chunk, tile, r, acc + r * kPanelRows);
  for (; r + 2 <= tile.rows; r += 2) Dot::template step<Format, 2>(chunk, tile, r, acc + r * kPanelRows);
  for (; r < tile.rows; ++r) Dot::template step<Format, 1>(chunk, tile, r, acc + r * kPanelRows);
}

template <class Dot, class Format>
void matmul_block(const MatmulArgs& args, std::uint32_t first_row, std::uint32_t first_panel, std::uint32_t panels) {
  const PanelMatrix& w = args.weights;
  const std::size_t stride = panel_bytes(*find_panel_format(Format::kFormat), w.cols);
  const std::uint32_t rows = smaller(kBlockRows, args.activations.rows - first_row);
  const std::uint32_t first_tile = first_row / kTileRows;
  const std::uint32_t tiles = (rows + kTileRows - 1) / kTileRows;
  alignas(64) float acc[kBlockPanels * kBlockRows * kPanelRows];
  __builtin_memset(acc, 0, std::size_t{panels} * rows * kPanelRows * sizeof(float));
  ChunkBuffer buffer;
  const auto visit = [&](std::uint32_t p, std::uint32_t col) {
    const auto* panel = reinterpret_cast<const std::uint8_t*>(w.data) + (first_panel + p) * stride;
    const Chunk chunk = Format::unpack(panel, col, smaller(kChunkCols, w.cols - col), buffer);
    for (std::uint32_t tile = 0; tile < tiles; ++tile) {
      dot_tile<Dot, Format>(chunk, tile_view(args.activations, first_tile + tile, col),
                            acc + (std::size_t{p} * rows + tile * kTileRows) * kPanelRows);
    }
  };
  if (tiles == 1) {  // memory-bound: read each panel as one stream
    for (std::uint32_t p = 0; p < panels; ++p) {
      for (std::uint32_t col = 0; col < w.cols; col += kChunkCols) visit(p, col);
    }
  } else {  // compute-bound: reuse the activations of a chunk for all panels
    for (std::uint32_t col = 0; col < w.cols; col += kChunkCols) {
      for (std::uint32_t p = 0; p < panels; ++p) visit(p, col);
    }
  }
  for (std::uint32_t p = 0; p < panels; ++p) {
    const std::uint32_t out_col = (first_panel + p) * kPanelRows;
    const std::size_t bytes = smaller(kPanelRows, w.rows - out_col) * sizeof(float);
    for (std::uint32_t r = 0; r < rows; ++r) {
      __builtin_memcpy(args.out + (first_row + r) * args.out_stride + out_col,
                       acc + (std::size_t{p} * rows + r) * kPanelRows, bytes);
    }
  }
}

template <class Dot, class Format>
void matmul_format(const MatmulArgs& args) {
  for (std::uint32_t row = 0; row < args.activations.rows; row += kBlockRows) {
    for (std::uint32_t panel = args.first_panel; panel < args.last_panel; panel += kBlockPanels) {
      matmul_block<Dot, Format>(args, row, panel, smaller(kBlockPanels, args.last_panel - panel));
    }
  }
}

template <class Dot>
void matmul_panels(const MatmulArgs& args) {
  switch (args.weights.format) {
    case WeightFormat::kQ8_0: return matmul_format<Dot, Q8_0>(args);
    case WeightFormat::kQ4_0: return matmul_format<Dot, Q4_0>(args);
    case WeightFormat::kQ4_K: return matmul_format<Dot, Q4_K>(args);
    case WeightFormat::kQ5_K: return matmul_format<Dot, Q5_K>(args);
    case WeightFormat::kQ6_K: return matmul_format<Dot, Q6_K>(args);
    case WeightFormat::kF32:
    case WeightFormat::kF16:
    case WeightFormat::kBF16: return;  // not in panels; dense products are the engine's
  }
}

}  // namespace
}  // namespace cairn
