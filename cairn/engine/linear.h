// SPDX-License-Identifier: Apache-2.0
// Matrix products of the model: y = W x for rows of activations, whatever format W has.
#pragma once

#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "cairn/base/aligned_buffer.h"
#include "cairn/base/result.h"
#include "cairn/base/thread_pool.h"
#include "cairn/engine/dense_onednn.h"
#include "cairn/kernels/args.h"

namespace cairn {

// One weight matrix. Movable. A quantised one views panels that ModelWeights owns.
class Linear {
 public:
  Linear() = default;  // of no rows: one that a layer does not have
  explicit Linear(PanelMatrix panels) : weights_(panels), rows_(panels.rows), cols_(panels.cols) {}
  Linear(DenseMatrix dense, std::uint32_t rows, std::uint32_t cols)
      : weights_(std::move(dense)), rows_(rows), cols_(cols) {}

  std::uint32_t rows() const { return rows_; }
  std::uint32_t cols() const { return cols_; }

 private:
  friend class LinearEngine;
  std::variant<PanelMatrix, DenseMatrix> weights_{};
  std::uint32_t rows_ = 0, cols_ = 0;
};

// Where the result of one product goes: out[r, n], rows of out_stride floats.
struct LinearTarget {
  Linear* weights;
  float* out;
  std::size_t out_stride;
};

// Runs products on a thread pool and keeps the scratch memory they need. Thread-compatible.
class LinearEngine {
 public:
  explicit LinearEngine(ThreadPool& pool) : pool_(pool) {}

  // Multiplies the rows x [rows, cols] (contiguous) by every target's weights, which all have `cols` columns. A row's
  // result depends on nothing but the row. Errors: kInternal from the dense library.
  Status multiply(const float* x, std::uint32_t rows, std::uint32_t cols, std::span<const LinearTarget> targets);

 private:
  void quantise(const float* x, std::uint32_t rows, std::uint32_t cols);
  void copy_dense(const float* x, std::uint32_t rows, std::uint32_t cols, bool bf16);

  ThreadPool& pool_;
  ActivationTiles tiles_{};
  Scratch<std::int8_t> codes_;
  Scratch<float> scales_, sums_, dense_f32_;
  Scratch<std::int32_t> biases_;
  Scratch<std::uint16_t> dense_bf16_;
  std::vector<Scratch<float>> thread_scratch_;
};

}  // namespace cairn
