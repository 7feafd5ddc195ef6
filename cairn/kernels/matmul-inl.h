// SPDX-License-Identifier: Apache-2.0
// The quantised product, shared by every instruction set; `Dot` supplies the innermost step. Where many rows meet a
// chunk of a panel it is unpacked first; a set may take the codes of few rows straight from the panel instead. The loop
// nest decides only what is near in the cache: each output's sums run over the groups of columns in ascending order,
// whatever the number of rows, so a row's result does not depend on its company.
// Included once per set, hence the unnamed namespace.
//
// The definition, for one output. Over the groups of columns in ascending order, `dot` being the exact integer sum of a
// group's products, a the scale of the row's activations there and s the sum of their values:
//   without factors   sum = fma(dot * scale, a, sum), and then sum = fma(-minimum, s, sum)
//   with factors      per unit: x = fma(dot * factor, a, x) from 0, and sum = fma(x, unit scale, sum); then where there
//                     are minima y = fma(factor, s, y) from 0, and sum = fma(-y, unit minimum, sum)
// dot * factor is exact: at most 24 bits. Where a group has 16 columns, minima go by the integer sums of the codes, two
// at a time: y = fma(factor * codes + next factor * next codes, a, y), of which the parentheses are exact.
#pragma once

#include <cstdint>

#include "cairn/kernels/formats-inl.h"

namespace cairn {
namespace {

// Up to kChunkCols columns of one panel, unpacked. Group g of 32 has its codes at codes + g * stride.
struct Chunk {
  const std::uint8_t* codes;  // per 32 columns: [8, 16, 4]
  std::size_t stride;         // bytes from one 32 columns to the next
  const float* scales;        // [groups, 16]: scales, or factors
  const float* minima;        // [groups, 16], likewise
  const float* unit_scale;    // [16], where there are factors
  const float* unit_minimum;  // [16], where there are factors and minima
  std::uint32_t cols;         // a multiple of 32
};

// Room for what had to be unpacked.
struct ChunkBuffer {
  alignas(64) std::uint8_t codes[kChunkCols * kPanelRows];
  alignas(64) float scales[kChunkCols / 16 * kPanelRows];
  alignas(64) float minima[kChunkCols / 16 * kPanelRows];
  alignas(64) float unit_scale[kPanelRows];
  alignas(64) float unit_minimum[kPanelRows];
};

// Of one format: groups per 32 columns.
template <class Format>
inline constexpr std::uint32_t kParts = kQuads / Format::kGroupQuads;

// Bytes that 32 columns take on average.
template <class Format>
inline constexpr std::size_t kGroupBytes = Format::kUnitBytes / (Format::kUnitCols / kGroupValues);

// The unit of columns [32 g, 32 g + 32) of a chunk, and which of the unit's groups of 32 they are.
template <class Format>
inline const std::uint8_t* unit_of(const std::uint8_t* first, std::uint32_t g) {
  return first + g * kGroupValues / Format::kUnitCols * Format::kUnitBytes;
}
template <class Format>
inline std::uint32_t within_unit(std::uint32_t g) {
  return g % (Format::kUnitCols / kGroupValues);
}

// What -128 times a sum of codes is shifted right by to make it -kZeroPoint times that sum.
template <class Format>
constexpr int bias_shift() {
  int shift = 0;
  while (Format::kZeroPoint << shift < 128) ++shift;
  return shift;
}

// -kZeroPoint times the sum of a group's activations: what stored codes add to the true product. `biases` as
// ActivationTiles has them, n from one 16 columns to the next.
template <class Format>
inline std::int32_t bias(const std::int32_t* biases, std::size_t n) {
  if constexpr (Format::kZeroPoint == 0)
    return 0;
  else
    return (biases[0] + (kParts<Format> == 1 ? biases[n] : 0)) >> bias_shift<Format>();
}

inline void store(const Floats& from, float* to) {
  __builtin_memcpy(to, &from, sizeof from);
}

template <class Format>
inline void unpack_group(const std::uint8_t* unit, std::uint32_t within, std::uint32_t g, ChunkBuffer& buffer) {
  Floats values;
  for (std::uint32_t part = 0; part < kParts<Format>; ++part) {
    const std::size_t at = (g * kParts<Format> + part) * kPanelRows;
    Format::scale(unit, within * kParts<Format> + part, values);
    store(values, buffer.scales + at);
    if constexpr (Format::kMinimum) {
      Format::minimum(unit, within * kParts<Format> + part, values);
      store(values, buffer.minima + at);
    }
  }
  if constexpr (!Format::kInPlace) {
    std::uint8_t* codes = buffer.codes + g * kQuads * kQuadBytes;
    for (std::uint32_t q = 0; q < kQuads / 2; ++q) {
      Words low, high;
      Format::codes(unit, within, q, low, high);
      __builtin_memcpy(codes + q * kQuadBytes, &low, sizeof low);
      __builtin_memcpy(codes + (q + kQuads / 2) * kQuadBytes, &high, sizeof high);
    }
  }
}

template <class Format>
inline Chunk unpack(const std::uint8_t* first, std::uint32_t cols, ChunkBuffer& buffer) {
  for (std::uint32_t g = 0; g < cols / kGroupValues; ++g) {
    unpack_group<Format>(unit_of<Format>(first, g), within_unit<Format>(g), g, buffer);
  }
  if constexpr (Format::kFactors) {
    Floats values;
    Format::unit_scale(first, values);
    store(values, buffer.unit_scale);
    if constexpr (Format::kMinimum) {
      Format::unit_minimum(first, values);
      store(values, buffer.unit_minimum);
    }
  }
  const std::uint8_t* codes = Format::kInPlace ? first + Format::kHead : buffer.codes;
  const std::size_t stride = Format::kInPlace ? Format::kUnitBytes : kQuads * kQuadBytes;
  return {codes, stride, buffer.scales, buffer.minima, buffer.unit_scale, buffer.unit_minimum, cols};
}

inline std::uint32_t smaller(std::uint32_t a, std::uint32_t b) {
  return a < b ? a : b;
}

// Rows (in whole tiles) and panels whose running sums are kept at once: 4 * 264 * 64 bytes, inside the second-level
// cache. The engine computes at most 256 rows at once.
constexpr std::uint32_t kBlockRows = 22 * kTileRows;
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

// kLevel as __builtin_prefetch has it: 3 is the first-level cache, 2 the second.
template <int kLevel>
inline void read_ahead(const void* from, std::size_t bytes) {
  const auto* line = static_cast<const char*>(from);
  for (std::size_t at = 0; at < bytes; at += 64) __builtin_prefetch(line + at, 0, kLevel);
}

// Part `part` of `parts` of what dot_tile reads of a whole tile.
template <class Format>
inline void read_tile_ahead(const TileView& tile, std::uint32_t cols, std::uint32_t part, std::uint32_t parts) {
  const std::size_t rows = tile.rows, bytes = rows * cols / parts;
  read_ahead<3>(tile.codes + part * bytes, bytes);
  if (part == 0) {
    read_ahead<3>(tile.scales, rows * (cols / 32) * 4);
    if constexpr (Format::kMinimum) read_ahead<3>(tile.sums, rows * (cols / 32) * 4);
    if constexpr (Format::kZeroPoint > 0 || (Format::kMinimum && kParts<Format> == 2))
      read_ahead<3>(tile.biases, rows * (cols / 16) * 4);
  }
}

// Dot::step<Format, T>(chunk, tile, offset, acc) adds the chunk's products for rows [offset, offset + T) of a tile to
// acc [T, 16]. Dot::step_in_panel<Format, T>(first unit, cols, tile, acc) does the same for a whole tile of at most
// Dot::kInPanelRows rows, without unpacking.
template <class Dot, class Format>
inline void dot_tile(const Chunk& chunk, const TileView& tile, float* acc) {
  if (tile.rows == kTileRows) return Dot::template step<Format, kTileRows>(chunk, tile, 0, acc);
  std::uint32_t r = 0;
  for (; r + 4 <= tile.rows; r += 4) Dot::template step<Format, 4>(chunk, tile, r, acc + r * kPanelRows);
  for (; r + 2 <= tile.rows; r += 2) Dot::template step<Format, 2>(chunk, tile, r, acc + r * kPanelRows);
  for (; r < tile.rows; ++r) Dot::template step<Format, 1>(chunk, tile, r, acc + r * kPanelRows);
}

template <class Dot, class Format>
inline void dot_in_panel(const std::uint8_t* first, std::uint32_t cols, const TileView& tile, float* acc) {
  static_assert(Dot::kInPanelRows == 4);
  switch (tile.rows) {
    case 1: return Dot::template step_in_panel<Format, 1>(first, cols, tile, acc);
    case 2: return Dot::template step_in_panel<Format, 2>(first, cols, tile, acc);
    case 3: return Dot::template step_in_panel<Format, 3>(first, cols, tile, acc);
    default: return Dot::template step_in_panel<Format, 4>(first, cols, tile, acc);
  }
}

// Some rows and panels, and their running sums [panels, rows, 16].
template <class Dot, class Format>
struct Block {
  const MatmulArgs& args;
  std::uint32_t first_row, rows;  // the first begins a tile
  std::uint32_t first_panel, panels;
  float* acc;
  const std::size_t stride = args.weights.cols / Format::kUnitCols * Format::kUnitBytes;  // of a panel

  std::uint32_t tiles() const { return (rows + kTileRows - 1) / kTileRows; }
  TileView tile(std::uint32_t t, std::uint32_t col) const {
    return tile_view(args.activations, first_row / kTileRows + t, col);
  }
  const std::uint8_t* unit(std::uint32_t p, std::uint32_t col) const {
    return reinterpret_cast<const std::uint8_t*>(args.weights.data) + (first_panel + p) * stride +
           col / Format::kUnitCols * Format::kUnitBytes;
  }
  std::uint32_t cols_from(std::uint32_t col) const { return smaller(kChunkCols, args.weights.cols - col); }
  float* sums(std::uint32_t p, std::uint32_t t) const {
    return acc + (std::size_t{p} * rows + t * kTileRows) * kPanelRows;
  }

  // One tile: bound by memory, so each panel is read as one stream.
  void few_rows() const {
    ChunkBuffer buffer;
    for (std::uint32_t p = 0; p < panels; ++p) {
      for (std::uint32_t col = 0; col < args.weights.cols; col += kChunkCols) {
        if constexpr (Dot::kInPanelRows > 0 && !Format::kInPlace) {
          if (rows <= Dot::kInPanelRows) {
            dot_in_panel<Dot, Format>(unit(p, col), cols_from(col), tile(0, col), sums(p, 0));
            continue;
          }
        }
        dot_tile<Dot, Format>(unpack<Format>(unit(p, col), cols_from(col), buffer), tile(0, col), sums(p, 0));
      }
    }
  }

  // Bound by arithmetic: the chunks of all panels stay in the first-level cache while the tiles pass. What comes next
  // is read ahead meanwhile, for processors foresee neither the next tile nor the next chunk.
  void many_rows() const {
    ChunkBuffer buffers[kBlockPanels];
    Chunk chunks[kBlockPanels];
    for (std::uint32_t col = 0; col < args.weights.cols; col += kChunkCols) {
      for (std::uint32_t p = 0; p < panels; ++p) chunks[p] = unpack<Format>(unit(p, col), cols_from(col), buffers[p]);
      const std::uint32_t next_col = col + kChunkCols < args.weights.cols ? col + kChunkCols : 0;
      const std::uint32_t next_panel = next_col > 0 ? 0 : panels;
      const std::size_t part = cols_from(next_col) / kGroupValues * kGroupBytes<Format> / tiles();
      for (std::uint32_t t = 0; t < tiles(); ++t) {
        const TileView now = tile(t, col), next = t + 1 < tiles() ? tile(t + 1, col) : tile(0, next_col);
        for (std::uint32_t p = 0; p < panels; ++p) {
          if (first_panel + next_panel + p < args.last_panel)
            read_ahead<2>(unit(next_panel + p, next_col) + t * part, part);
          read_tile_ahead<Format>(next, cols_from(col), p, panels);
          dot_tile<Dot, Format>(chunks[p], now, sums(p, t));
        }
      }
    }
  }
};

// Sums [panels, rows, 16] to out[row, weight row] for those of `outputs` weight rows that there are.
inline void copy_sums(const float* sums, std::uint32_t first_row, std::uint32_t rows, std::uint32_t first_panel,
                      std::uint32_t panels, std::uint32_t outputs, float* out, std::size_t out_stride) {
  for (std::uint32_t p = 0; p < panels; ++p) {
    const std::uint32_t output = (first_panel + p) * kPanelRows;
    const std::size_t bytes = smaller(kPanelRows, outputs - output) * sizeof(float);
    for (std::uint32_t r = 0; r < rows; ++r) {
      __builtin_memcpy(out + (first_row + r) * out_stride + output, sums, bytes);
      sums += kPanelRows;
    }
  }
}

template <class Dot, class Format>
void matmul_block(const MatmulArgs& args, std::uint32_t first_row, std::uint32_t first_panel, std::uint32_t panels) {
  const std::uint32_t rows = smaller(kBlockRows, args.activations.rows - first_row);
  alignas(64) float acc[kBlockPanels * kBlockRows * kPanelRows];
  __builtin_memset(acc, 0, std::size_t{panels} * rows * kPanelRows * sizeof(float));
  const Block<Dot, Format> block = {args, first_row, rows, first_panel, panels, acc};
  block.tiles() == 1 ? block.few_rows() : block.many_rows();
  copy_sums(acc, first_row, rows, first_panel, panels, args.weights.rows, args.out, args.out_stride);
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
  with_format(args.weights.format, [&]<class Format>(Format) { matmul_format<Dot, Format>(args); });
}

}  // namespace
}  // namespace cairn
