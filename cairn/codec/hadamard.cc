// SPDX-License-Identifier: Apache-2.0
#include "cairn/codec/hadamard.h"

#include "cairn/kernels/kernels.h"

namespace cairn {

void turn_heads(std::span<float> rows, std::uint32_t head_dim) {
  for (std::size_t first = 0; first < rows.size(); first += head_dim) {
    kernels().hadamard(rows.data() + first, head_dim);
  }
}

}  // namespace cairn
