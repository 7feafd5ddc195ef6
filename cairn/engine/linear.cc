// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/linear.h"

#include <algorithm>

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

// As DenseArgs wants rows. One row is as it is.
const float* LinearEngine::interleave(const float* x, std::uint32_t rows, std::uint32_t cols) {
  if (rows == 1) return x;
  float* tiles = interleaved_.ensure(std::size_t{rows} * cols);
  pool_.run((rows + kTileRows - 1) / kTileRows, [&](std::size_t tile, unsigned) {
    const auto row = static_cast<std::uint32_t>(tile) * kTileRows;
    const std::size_t at = std::size_t{row} * cols;
    kernels().transpose(x + at, std::min(kTileRows, rows - row), cols, tiles + at);
  });
  return tiles;
}

void LinearEngine::multiply(const float* x, std::uint32_t rows, std::uint32_t cols,
                            std::span<const LinearTarget> targets) {
  const auto panels_of = [](const LinearTarget& target) {
    return (target.weights->rows() + kPanelRows - 1) / kPanelRows;
  };
  const std::uint32_t at_once = piece_panels(rows);
  const auto pieces = [&](const LinearTarget& target) { return (panels_of(target) + at_once - 1) / at_once; };
  bool quantised = false, dense = false;
  std::size_t total = 0;
  for (const LinearTarget& target : targets) {
    CAIRN_CHECK(target.weights->cols() == cols);
    total += pieces(target);
    (is_dense(target.weights->panels().format) ? dense : quantised) = true;
  }
  if (quantised) quantise(x, rows, cols);
  const float* floats = dense ? interleave(x, rows, cols) : nullptr;
  pool_.run(total, [&](std::size_t piece, unsigned) {
    const LinearTarget* target = targets.data();
    while (piece >= pieces(*target)) piece -= pieces(*target++);
    const PanelMatrix& panels = target->weights->panels();
    const auto first = static_cast<std::uint32_t>(piece) * at_once;
    const std::uint32_t last = std::min(first + at_once, panels_of(*target));
    if (is_dense(panels.format)) {
      kernels().multiply_dense({panels, floats, rows, target->out, target->out_stride, first, last});
    } else {
      kernels().matmul({panels, tiles_, target->out, target->out_stride, first, last});
    }
  });
}

}  // namespace cairn
