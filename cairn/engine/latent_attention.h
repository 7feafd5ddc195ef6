// SPDX-License-Identifier: Apache-2.0
// What comes before and after attention on latents (LatentSpec). A head's key would be K c of the latent c and its
// value V c; q . (K c) = (K^T q) . c, and the weighted sum of V c is V of the weighted sum of c. So K^T goes into the
// query, V into the output, and attention itself has one KV head whose keys are the latents and what turns beside them.
#pragma once

#include <cstdint>

#include "cairn/base/aligned_buffer.h"
#include "cairn/base/thread_pool.h"
#include "cairn/engine/linear.h"
#include "cairn/engine/weights.h"

namespace cairn {

// Holds scratch memory; thread-compatible. Config, products and pool must outlive it.
class LatentAttention {
 public:
  LatentAttention(const ModelConfig& config, LinearEngine& linear, ThreadPool& pool)
      : config_(config), linear_(linear), pool_(pool) {}

  // Of x [rows, width], which is normed: q [rows, heads, head_dim] and k [rows, head_dim], not rotated yet.
  void project(LatentWeights& layer, const float* x, std::uint32_t rows, float* q, float* k);

  // out [rows, heads, value] of what attention gave, latents [rows, heads, rank].
  void expand(LatentWeights& layer, const float* latents, std::uint32_t rows, float* out);

 private:
  void queries(LatentWeights& layer, const float* x, std::uint32_t rows);
  void by_head(std::vector<Linear>& weights, const float* x, std::size_t x_stride, std::size_t x_step,
               std::uint32_t rows, float* out, std::size_t out_stride, std::size_t out_step);

  const ModelConfig& config_;
  LinearEngine& linear_;
  ThreadPool& pool_;
  Scratch<float> q_a_, q_, of_head_;
};

}  // namespace cairn
