// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/latent_attention.h"

#include <algorithm>

#include "cairn/kernels/kernels.h"

namespace cairn {

// q_ [rows, heads, plain + turning].
void LatentAttention::queries(LatentWeights& layer, const float* x, std::uint32_t rows) {
  const std::size_t q_width = layer.q.rows(), q_rank = layer.q_a.rows();
  const LinearTarget target[] = {{&layer.q, q_.ensure(rows * q_width), q_width}};
  if (q_rank == 0) {
    linear_.multiply(x, rows, config_.width, target);
    return;
  }
  float* q_a = q_a_.ensure(rows * q_rank);
  const LinearTarget inner[] = {{&layer.q_a, q_a, q_rank}};
  linear_.multiply(x, rows, config_.width, inner);
  pool_.run(rows, [&](std::size_t r, unsigned) {
    float* row = q_a + r * q_rank;
    kernels().rms_norm(row, layer.q_a_norm.data(), config_.rms_eps, q_rank, row);
  });
  linear_.multiply(q_a, rows, static_cast<std::uint32_t>(q_rank), target);
}

// For each head: its matrix times rows that begin `x_stride` apart, those of the next head `x_step` further; the same
// of `out`.
void LatentAttention::by_head(std::vector<Linear>& weights, const float* x, std::size_t x_stride, std::size_t x_step,
                              std::uint32_t rows, float* out, std::size_t out_stride, std::size_t out_step) {
  for (std::size_t h = 0; h < weights.size(); ++h) {
    const std::uint32_t cols = weights[h].cols();
    const float* input = x + h * x_step;
    if (rows > 1) {
      float* gathered = of_head_.ensure(std::size_t{rows} * cols);
      for (std::uint32_t r = 0; r < rows; ++r)
        std::copy_n(input + r * x_stride, cols, gathered + std::size_t{r} * cols);
      input = gathered;
    }
    const LinearTarget target[] = {{&weights[h], out + h * out_step, out_stride}};
    linear_.multiply(input, rows, cols, target);
  }
}

void LatentAttention::project(LatentWeights& layer, const float* x, std::uint32_t rows, float* q, float* k) {
  const LatentSpec& spec = config_.latent;
  const std::size_t dim = config_.head_dim, heads = config_.heads, own = spec.plain + (dim - spec.rank);
  queries(layer, x, rows);
  by_head(layer.k_b, q_.data(), heads * own, own, rows, q, heads * dim, dim);
  const LinearTarget target[] = {{&layer.kv_a, k, dim}};
  linear_.multiply(x, rows, config_.width, target);
  pool_.run(rows, [&](std::size_t r, unsigned) {
    for (std::size_t h = r * heads; h < (r + 1) * heads; ++h) {  // what turns is the same in both
      std::copy_n(q_.data() + h * own + spec.plain, dim - spec.rank, q + h * dim + spec.rank);
    }
    kernels().rms_norm(k + r * dim, layer.kv_a_norm.data(), config_.rms_eps, spec.rank, k + r * dim);
  });
}

void LatentAttention::expand(LatentWeights& layer, const float* latents, std::uint32_t rows, float* out) {
  const LatentSpec& spec = config_.latent;
  const std::size_t heads = config_.heads;
  by_head(layer.v_b, latents, heads * spec.rank, spec.rank, rows, out, heads * spec.value, spec.value);
}

}  // namespace cairn
