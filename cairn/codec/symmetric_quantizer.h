// SPDX-License-Identifier: Apache-2.0
// Codes that stand evenly around zero, with a scale of one byte per column (small_scale.h) that is chosen by the error
// it leaves.
#pragma once

#include <cstdint>
#include <span>

#include "cairn/kernels/codes.h"

namespace cairn {

// Values x [rows, columns] and how they are coded.
struct SymmetricQuantizer {
  const float* x;
  std::uint32_t rows;
  std::uint32_t max_code;
  float factor = 1.0f;  // what the column's scale is multiplied by

  // codes [rows, columns]. Requires: at most kMaxChannels columns.
  void quantise(std::span<const std::uint8_t> scales, std::uint8_t* codes) const;
};

// For each column the scale that leaves the least squared error in all of `parts` together, among `candidates`
// neighbouring ones: the least that reaches the greatest value, and those below it. Deterministic.
void choose_scales(std::span<const SymmetricQuantizer> parts, int candidates, std::span<std::uint8_t> scales);

}  // namespace cairn
