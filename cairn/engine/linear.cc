// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/linear.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "cairn/base/check.h"
#include "cairn/kernels/kernels.h"

namespace cairn {
namespace {

// Panels that one piece of work covers: as many as share the activations well or, where reading the weights is all
// there is to do, enough that every piece is a long stream.
std::uint32_t piece_panels(std::uint32_t rows) {
  return rows > kTileRows ? 4 : 8;
}

}  // namespace

void LinearEngine::quantise(const float* x, std::uint32_t rows, std::uint32_t cols) {
  const std::size_t values = std::size_t{rows} * cols;
  tiles_ = {rows,
            cols,
            codes_.ensure(values),
            scales_.ensure(values / 32),
            biases_.ensure(values / 16),
            sums_.ensure(values / 32)};
  pool_.run((rows + kTileRows - 1) / kTileRows, [&](std::size_t tile, unsigned) {
    kernels().quantise_tile(x, cols, tiles_, static_cast<std::uint32_t>(tile));
  });
}

void LinearEngine::copy_dense(const float* x, std::uint32_t rows, std::uint32_t cols, bool bf16) {
  const std::size_t padded = std::size_t{DenseMatrix::padded_rows(rows)} * cols, values = std::size_t{rows} * cols;
  if (bf16) {
    std::uint16_t* to = dense_bf16_.ensure(padded);
    kernels().narrow[static_cast<std::size_t>(Element::kBF16)](x, values, to);
    std::fill(to + values, to + padded, std::uint16_t{0});
  } else {
    float* to = dense_f32_.ensure(padded);
    std::copy_n(x, values, to);
    std::fill(to + values, to + padded, 0.0f);
  }
}

Status LinearEngine::multiply(const float* x, std::uint32_t rows, std::uint32_t cols,
                              std::span<const LinearTarget> targets) {
  bool quantised = false, as_f32 = false, as_bf16 = false;
  std::size_t scratch = 0, total = 0;
  const auto pieces = [rows](const Linear& weights) {
    const bool dense = std::holds_alternative<DenseMatrix>(weights.weights_);
    const std::uint32_t piece_rows = dense ? kDenseTileRows : piece_panels(rows) * kPanelRows;
    return (weights.rows() + piece_rows - 1) / piece_rows;
  };
  for (const LinearTarget& target : targets) {
    CAIRN_CHECK(target.weights->cols() == cols);
    total += pieces(*target.weights);
    if (auto* dense = std::get_if<DenseMatrix>(&target.weights->weights_)) {
      CAIRN_TRY_VOID(dense->prepare(rows));
      (dense->takes_bf16() ? as_bf16 : as_f32) = true;
      scratch = std::max(scratch, dense->scratch_floats());
    } else {
      quantised = true;
    }
  }
  if (quantised) quantise(x, rows, cols);
  if (as_f32) copy_dense(x, rows, cols, false);
  if (as_bf16) copy_dense(x, rows, cols, true);
  thread_scratch_.resize(pool_.size());
  for (auto& memory : thread_scratch_) memory.ensure(scratch);

  std::atomic<bool> failed{false};
  pool_.run(total, [&](std::size_t piece, unsigned thread) {
    const LinearTarget* target = targets.data();
    while (piece >= pieces(*target->weights)) piece -= pieces(*target++->weights);
    if (const auto* panels = std::get_if<PanelMatrix>(&target->weights->weights_)) {
      const auto first = static_cast<std::uint32_t>(piece) * piece_panels(rows);
      const std::uint32_t last = std::min(first + piece_panels(rows), (panels->rows + kPanelRows - 1) / kPanelRows);
      kernels().matmul({*panels, tiles_, target->out, target->out_stride, first, last});
    } else {
      const auto& dense = std::get<DenseMatrix>(target->weights->weights_);
      const void* input = dense.takes_bf16() ? static_cast<const void*>(dense_bf16_.data()) : dense_f32_.data();
      if (!dense.multiply_tile(static_cast<std::uint32_t>(piece), input, rows, target->out, target->out_stride,
                               thread_scratch_[thread].data())) {
        failed.store(true, std::memory_order_relaxed);
      }
    }
  });
  if (failed.load(std::memory_order_relaxed))
    return fail(ErrorCode::kInternal, "a product of oneDNN failed: out of memory?");
  return {};
}

}  // namespace cairn
