// SPDX-License-Identifier: Apache-2.0
// From scores to what stays: budgets for each layer and KV head, then the slots that fill them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cairn/policy/policy.h"

namespace cairn {

// The scores of one layer's slots, as scorer.h has them. A value.
struct LayerScores {
  std::uint32_t kv_heads = 0;
  std::size_t slots = 0;
  std::vector<std::int32_t> positions;  // [kv_heads, slots]; kNoToken: empty
  std::vector<float> scores;            // [kv_heads, slots]
  std::size_t fixed_from = 0;           // slots from here on stay whatever they score: the open tail
  std::size_t fixed_before = 0;         // slots before this stay too: the prompt, where only decoded tokens go
};

// What one layer keeps. A value.
struct LayerKeep {
  // By KV head, or one list for all: slots below LayerScores::fixed_from that stay, ascending.
  std::vector<std::vector<std::uint32_t>> heads;

  bool shared() const { return heads.size() == 1; }
};

struct RetentionPlan {
  std::vector<LayerKeep> layers;
};

// Budgets in tokens: [layers][kv_heads], protected ones included. Their sum is that of `keep` over all layers and
// heads, save where protected tokens alone are more, and rounding.
std::vector<std::vector<std::size_t>> budgets_of(const PolicySpec& policy, std::span<const LayerScores> layers);

// Protected tokens first (sinks, recent ones, what is fixed), then units by their best mean score until the budget is
// full; equal scores go to the older. Deterministic.
RetentionPlan plan_retention(const PolicySpec& policy, std::span<const LayerScores> layers);

}  // namespace cairn
