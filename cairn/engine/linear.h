// SPDX-License-Identifier: Apache-2.0
// Matrix products of the model: y = W x for rows of activations, whatever format W has.
#pragma once

#include <cstdint>
#include <span>

#include "cairn/base/aligned_buffer.h"
#include "cairn/base/thread_pool.h"
#include "cairn/kernels/args.h"

namespace cairn {

// One weight matrix: a view of panels that ModelWeights owns.
class Linear {
 public:
  Linear() = default;  // of no rows: one that a layer does not have
  explicit Linear(PanelMatrix panels) : panels_(panels) {}

  std::uint32_t rows() const { return panels_.rows; }
  std::uint32_t cols() const { return panels_.cols; }
  const PanelMatrix& panels() const { return panels_; }

 private:
  PanelMatrix panels_{};
};

// Where the result of one product goes: out[r, n], rows of out_stride floats.
struct LinearTarget {
  const Linear* weights;
  float* out;
  std::size_t out_stride;
};

// Runs products on a thread pool and keeps the scratch memory they need. Thread-compatible.
class LinearEngine {
 public:
  explicit LinearEngine(ThreadPool& pool) : pool_(pool) {}

  // Multiplies the rows x [rows, cols] (contiguous) by every target's weights, which all have `cols` columns. A row's
  // result depends on nothing but the row. Requires: `cols` is a multiple of 32 where weights are quantised.
  void multiply(const float* x, std::uint32_t rows, std::uint32_t cols, std::span<const LinearTarget> targets);

 private:
  void quantise(const float* x, std::uint32_t rows, std::uint32_t cols);
  const float* interleave(const float* x, std::uint32_t rows, std::uint32_t cols);

  ThreadPool& pool_;
  ActivationTiles tiles_{};
  Scratch<std::int8_t> codes_;
  Scratch<float> scales_, sums_, interleaved_;
  Scratch<std::int32_t> biases_;
};

}  // namespace cairn
