// SPDX-License-Identifier: Apache-2.0
// The product with F32, F16 and BF16 weights, shared by every instruction set; `Lanes` supplies 16 floats, one per row
// of a panel. The loop nest decides only what is near in the cache.
// Included once per set, hence the unnamed namespace.
//
// The definition, for one output: sum = fma(weight, x, sum) from 0, over the columns in ascending order.
//
// Lanes says
//   Type, load(from), store(lanes, to)   16 floats in memory
//   widen(element, from)                 16 weights of an element type (elementwise-inl.h), exactly
//   spread(x), fused(w, x, sum)          a float in all lanes; w * x + sum, rounded once
//   kRows and kPanels, kFewRows and kFewPanels, kOneRowPanels
//                                        how many of each are summed at once: many rows (they divide a tile), few, one
#pragma once

#include "cairn/kernels/elementwise-inl.h"
#include "cairn/kernels/matmul-inl.h"

namespace cairn {
namespace {

// Some rows and panels, and their running sums [panels, rows, 16].
template <class Lanes, class E>
struct DenseBlock {
  using Weight = typename E::Type;

  const DenseArgs& args;
  std::uint32_t first_row, rows;
  std::uint32_t first_panel, panels;
  float* acc;

  // T rows from `row` of tile `tile`, and P panels from `panel`, over `count` columns from `col`. Not inlined: the sums
  // would not all stay in registers.
  template <std::uint32_t T, std::uint32_t P>
  [[gnu::noinline]] void step(std::uint32_t tile, std::uint32_t row, std::uint32_t panel, std::uint32_t col,
                              std::uint32_t count) const {
    const std::size_t cols = args.weights.cols, stride = cols * kPanelRows, sum_stride = std::size_t{rows} * kPanelRows;
    const std::size_t n = T == kTileRows ? T : rows_of(tile);
    const Weight* w = reinterpret_cast<const Weight*>(args.weights.data) + (first_panel + panel) * stride +
                      std::size_t{col} * kPanelRows;
    const float* x = args.x + (first_row + tile * kTileRows) * cols + col * n + row;
    float* sums = acc + panel * sum_stride + (std::size_t{tile} * kTileRows + row) * kPanelRows;
    typename Lanes::Type sum[P][T];
#pragma GCC unroll 12
    for (std::uint32_t p = 0; p < P; ++p) {
#pragma GCC unroll 12
      for (std::uint32_t t = 0; t < T; ++t) sum[p][t] = Lanes::load(sums + p * sum_stride + t * kPanelRows);
    }
    for (std::uint32_t k = 0; k < count; ++k) {
      typename Lanes::Type weights[P];
#pragma GCC unroll 12
      for (std::uint32_t p = 0; p < P; ++p) weights[p] = Lanes::widen(E{}, w + p * stride);
#pragma GCC unroll 12
      for (std::uint32_t t = 0; t < T; ++t) {
        const auto value = Lanes::spread(x[t]);
#pragma GCC unroll 12
        for (std::uint32_t p = 0; p < P; ++p) sum[p][t] = Lanes::fused(weights[p], value, sum[p][t]);
      }
      w += kPanelRows;
      x += n;
    }
#pragma GCC unroll 12
    for (std::uint32_t p = 0; p < P; ++p) {
#pragma GCC unroll 12
      for (std::uint32_t t = 0; t < T; ++t) Lanes::store(sum[p][t], sums + p * sum_stride + t * kPanelRows);
    }
  }

  std::uint32_t rows_of(std::uint32_t tile) const {
    return smaller(kTileRows, rows - tile * kTileRows);
  }

  // The rows [row, end) of some tiles in steps of T, all panels in steps of P.
  template <std::uint32_t T, std::uint32_t P>
  void steps(std::uint32_t first_tile, std::uint32_t last_tile, std::uint32_t row, std::uint32_t end, std::uint32_t col,
             std::uint32_t count) const {
    std::uint32_t panel = 0;
    for (; panel + P <= panels; panel += P) {  // their weights stay in the first-level cache while the rows pass
      for (std::uint32_t tile = first_tile; tile < last_tile; ++tile) {
        for (std::uint32_t r = row; r < end; r += T) step<T, P>(tile, r, panel, col, count);
      }
    }
    for (; panel < panels; ++panel) {
      for (std::uint32_t tile = first_tile; tile < last_tile; ++tile) {
        for (std::uint32_t r = row; r < end; r += T) step<T, 1>(tile, r, panel, col, count);
      }
    }
  }

  void compute() const {
    const std::uint32_t cols = args.weights.cols, chunk = rows > kTileRows ? kChunkCols : cols;
    const std::uint32_t whole = rows / kTileRows, rest = rows % kTileRows;
    const std::uint32_t many = rest / Lanes::kRows * Lanes::kRows;
    const std::uint32_t few = many + (rest - many) / Lanes::kFewRows * Lanes::kFewRows;
    for (std::uint32_t col = 0; col < cols; col += chunk) {
      const std::uint32_t count = smaller(chunk, cols - col);
      steps<Lanes::kRows, Lanes::kPanels>(0, whole, 0, kTileRows, col, count);
      if (rest == 0) continue;
      steps<Lanes::kRows, Lanes::kPanels>(whole, whole + 1, 0, many, col, count);
      steps<Lanes::kFewRows, Lanes::kFewPanels>(whole, whole + 1, many, few, col, count);
      steps<1, Lanes::kOneRowPanels>(whole, whole + 1, few, rest, col, count);
    }
  }
};

template <class Lanes, class E>
void dense_block(const DenseArgs& args, std::uint32_t first_row, std::uint32_t first_panel, std::uint32_t panels) {
  const std::uint32_t rows = smaller(kBlockRows, args.rows - first_row);
  alignas(64) float acc[kBlockPanels * kBlockRows * kPanelRows];
  __builtin_memset(acc, 0, std::size_t{panels} * rows * kPanelRows * sizeof(float));
  DenseBlock<Lanes, E>{args, first_row, rows, first_panel, panels, acc}.compute();
  copy_sums(acc, first_row, rows, first_panel, panels, args.weights.rows, args.out, args.out_stride);
}

template <class Lanes, class E>
void multiply_dense_as(const DenseArgs& args) {
  const std::uint32_t panels = args.rows <= kBlockRows / 2 ? 2 * kBlockPanels : kBlockPanels;
  for (std::uint32_t row = 0; row < args.rows; row += kBlockRows) {
    for (std::uint32_t panel = args.first_panel; panel < args.last_panel; panel += panels) {
      dense_block<Lanes, E>(args, row, panel, smaller(panels, args.last_panel - panel));
    }
  }
}

template <class Lanes>
void multiply_dense(const DenseArgs& args) {
  switch (args.weights.format) {
    case WeightFormat::kF32: return multiply_dense_as<Lanes, F32>(args);
    case WeightFormat::kF16: return multiply_dense_as<Lanes, F16>(args);
    case WeightFormat::kBF16: return multiply_dense_as<Lanes, BF16>(args);
    default: return;  // matmul()'s
  }
}

}  // namespace
}  // namespace cairn
