// SPDX-License-Identifier: Apache-2.0
// The second half of a layer: one gated feed-forward, or a mixture of them (Shazeer et al. 2017, "Outrageously Large
// Neural Networks"; Jiang et al. 2024, "Mixtral of Experts").
//
// Rows are grouped by the experts that they chose, so that an expert's weights are read once for all of its rows. What
// a row gets depends on nothing but the row: its products are its own, and they are added in the order of its own
// choice, the most probable expert first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cairn/base/aligned_buffer.h"
#include "cairn/base/thread_pool.h"
#include "cairn/engine/linear.h"
#include "cairn/engine/weights.h"

namespace cairn {

// Holds scratch memory; thread-compatible. Config, products and pool must outlive it.
class FeedForward {
 public:
  FeedForward(const ModelConfig& config, LinearEngine& linear, ThreadPool& pool)
      : config_(config), linear_(linear), pool_(pool) {}

  // out [rows, width] becomes what the layer's feed-forward gives for x [rows, width].
  void compute(LayerWeights& layer, const float* x, std::uint32_t rows, float* out);

 private:
  // What a row chose: an expert, and the weight of what it gives.
  struct Choice {
    std::uint32_t expert;
    float weight;
  };

  void gated(std::span<GatedFfn* const> weights, const float* x, std::uint32_t rows, float* out);
  void mixture(LayerWeights& layer, const float* x, std::uint32_t rows, float* out);
  void choose(LayerWeights& layer, const float* x, std::uint32_t rows);
  void choose_for(const float* bias, float* scores, Choice* chosen) const;
  void chosen_experts(LayerWeights& layer, const float* x, std::uint32_t rows);
  void add_shared(LayerWeights& layer, const float* x, std::uint32_t rows, float* out);

  const ModelConfig& config_;
  LinearEngine& linear_;
  ThreadPool& pool_;
  std::vector<Choice> choices_;         // [rows, used], the most probable first
  std::vector<std::uint32_t> members_;  // places in choices_, by expert
  std::vector<LinearTarget> targets_;
  Scratch<float> gate_, up_, router_, gathered_, given_, by_choice_;
};

}  // namespace cairn
