// SPDX-License-Identifier: Apache-2.0
// The angles of a pass: cos and sin of every row, once for each way in which some layer rotates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cairn/base/aligned_buffer.h"
#include "cairn/base/thread_pool.h"
#include "cairn/block/layer_spec.h"
#include "cairn/block/rope.h"

namespace cairn {

// Thread-compatible; heads may be turned from several threads at once.
class Rotations {
 public:
  explicit Rotations(std::span<const LayerSpec> layers);

  // Computes the angles of rows at these positions, as inverse_frequencies() and magnitude() say.
  void prepare(std::span<const std::int32_t> positions, ThreadPool& pool);

  // Turns one head of row `row` of prepare() as layer `layer` does, in place. A layer whose spec has no rotary channels
  // turns nothing. Requires: prepare(), and a head of at least spec.first + spec.dims values.
  void turn(std::uint32_t layer, std::size_t row, float* head) const;

 private:
  struct Rotation {
    RopeSpec spec;
    std::vector<double> frequencies;
    Scratch<float> cos{}, sin{};  // [rows, pairs]
  };
  std::vector<Rotation> rotations_;    // no two alike
  std::vector<std::size_t> of_layer_;  // [layers], in rotations_
};

}  // namespace cairn
