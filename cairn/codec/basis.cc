// SPDX-License-Identifier: Apache-2.0
#include "cairn/codec/basis.h"

#include <algorithm>

#include "cairn/codec/codec.h"
#include "cairn/kernels/kernels.h"

namespace cairn {

void Basis::turn(Matrix which, std::uint32_t kv_head, float* rows, std::size_t count, std::size_t stride) const {
  constexpr std::size_t kRows = 8;
  alignas(64) float turned[kRows * kMaxChannels];
  const std::uint32_t dim = shape_.head_dim;
  const float* matrix = matrices_ + (std::size_t{kv_head} * 3 + which) * dim * dim;
  for (std::size_t first = 0; first < count; first += kRows) {
    const std::size_t some = std::min(kRows, count - first);
    float* own = rows + first * stride;
    kernels().turn_rows(own, stride, static_cast<std::uint32_t>(some), dim, dim, matrix, turned);
    for (std::size_t r = 0; r < some; ++r) std::copy_n(turned + r * dim, dim, own + r * stride);
  }
}

void Basis::turn_heads(Matrix which, std::span<float> rows) const {
  if (kind_ == BasisKind::kHadamard) hadamard_heads(rows, shape_.head_dim);
  if (kind_ != BasisKind::kTrained) return;
  const std::size_t width = shape_.values_per_token();
  for (std::uint32_t h = 0; h < shape_.kv_heads; ++h)
    turn(which, h, rows.data() + std::size_t{h} * shape_.head_dim, rows.size() / width, width);
}

void Basis::turn_head(Matrix which, std::uint32_t kv_head, std::span<float> rows) const {
  if (kind_ == BasisKind::kHadamard) hadamard_heads(rows, shape_.head_dim);
  if (kind_ != BasisKind::kTrained) return;
  turn(which, kv_head, rows.data(), rows.size() / shape_.head_dim, shape_.head_dim);
}

}  // namespace cairn
