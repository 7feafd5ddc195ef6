// SPDX-License-Identifier: Apache-2.0
// What kernels take: plain data over raw pointers, so that every instruction set (and later nvcc) can share it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cairn/kernels/weight_format.h"

namespace cairn {

// Weight rows are interleaved in panels of this many, one SIMD lane per row.
inline constexpr std::uint32_t kPanelRows = 16;
// Activations carry one scale per this many values; quantised weights need a multiple of it per row.
inline constexpr std::uint32_t kGroupValues = 32;
// Rows of activations are interleaved in tiles of at most this many.
inline constexpr std::uint32_t kTileRows = 12;

// Tokens of a page. Kernels know no blocks, so the number stands here too; codec.h checks that the two agree.
inline constexpr std::uint32_t kPageTokens = 64;
// Its boxes, of 16 tokens each: bit b of a set of them is for the tokens [b, b + 1) * kPageBoxTokens.
inline constexpr std::uint32_t kPageBoxTokens = 16;
inline constexpr std::uint32_t kPageBoxes = kPageTokens / kPageBoxTokens;
inline constexpr std::uint8_t kWholePage = (1u << kPageBoxes) - 1;

// A weight matrix [rows, cols] in panel layout (panel.h). `data` is 64-byte aligned.
struct PanelMatrix {
  WeightFormat format;
  std::uint32_t rows;
  std::uint32_t cols;
  const std::byte* data;
};

// Activation rows [rows, cols] as signed bytes, interleaved by tile: tile i holds n = min(kTileRows, rows - 12 i) rows
// and starts at 12 i times the per-row extent of each array.
struct ActivationTiles {
  std::uint32_t rows;
  std::uint32_t cols;
  std::int8_t* codes;    // [cols / 4, n, 4], within [-127, 127]
  float* scales;         // [cols / 32, n]: value = code * scale
  std::int32_t* biases;  // [cols / 16, n]: -128 times the sum of 16 codes, which undoes the +128 of stored weights
  float* sums;           // [cols / 32, n]: scale times the sum of 32 codes, which meets the minimum of K-quants
};

// out[r, c] = sum over k of activation[r, k] * weight[c, k] for the rows of panels [first_panel, last_panel).
struct MatmulArgs {
  PanelMatrix weights;
  ActivationTiles activations;
  float* out;  // [activations.rows, out_stride]
  std::size_t out_stride;
  std::uint32_t first_panel;
  std::uint32_t last_panel;
};

// The same with F32, F16 or BF16 weights, for floats.
struct DenseArgs {
  PanelMatrix weights;
  const float* x;  // interleaved by tile as ActivationTiles are: tile i is [weights.cols, n]
  std::uint32_t rows;
  float* out;  // [rows, out_stride]
  std::size_t out_stride;
  std::uint32_t first_panel;
  std::uint32_t last_panel;
};

// Memory that the caller is going to read next. Pages lie anywhere, so the processor cannot foresee them: a kernel asks
// for them line by line while it works. A hint: may be empty.
struct PrefetchHint {
  const void* data = nullptr;
  std::size_t bytes = 0;
  // Which boxes are read, and how many bytes of each lie side by side (0: boxes cannot be told apart): byte boxes_from
  // + i belongs to box i / box_bytes, counted round and round. Bytes before boxes_from and from boxes_to on are all
  // read.
  std::uint8_t boxes = kWholePage;
  std::size_t box_bytes = 0;
  std::size_t boxes_from = 0;
  std::size_t boxes_to = static_cast<std::size_t>(-1);
};

// What a range coder with sixteen states that take turns has still to read (codec/rans.h): states stay in
// [kRansLow, kRansLow << 16), and one that falls below takes the next word.
inline constexpr std::int32_t kRansStates = 16;
inline constexpr std::uint32_t kRansBits = 11;  // of the frequencies of a table together
inline constexpr std::uint32_t kRansLow = 1u << 16;
struct RansWords {
  std::uint32_t states[kRansStates];
  const std::uint16_t* next;
  const std::uint16_t* end;
};

// Running softmax of some query rows over part of the keys: sum over t of exp(s - max) and of exp(s - max) * V.
struct SoftmaxState {
  float* max;  // [rows]; -infinity when nothing was seen
  float* sum;  // [rows]
  float* acc;  // [rows, head_dim]
};

}  // namespace cairn
