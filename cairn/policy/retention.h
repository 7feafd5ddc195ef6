// SPDX-License-Identifier: Apache-2.0
// From what is known of tokens to what stays: scores, budgets for each layer and KV head, the slots that fill them.
//
// Functions without state that may be called from any thread; the same arguments give the same result.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cairn/policy/policy.h"

namespace cairn {

struct LayerEvidence;  // scorer.h

// The scores of one layer's slots, as scorer.h has them. A value.
struct LayerScores {
  std::uint32_t kv_heads = 0;
  std::size_t slots = 0;
  std::vector<std::int32_t> positions;  // [kv_heads, slots], ascending in a row save for what is kNoToken: empty
  std::vector<float> scores;            // [kv_heads, slots]
  std::size_t fixed_from = 0;           // slots from here on stay whatever they score: the open tail
  std::size_t fixed_before = 0;         // slots before this stay too: the prompt, where only decoded tokens go
  bool follows = false;                 // the scores are those of the layer before: it is of the same group
};

// What the policy's scorer says, ready for a plan: where it gave a NaN or an infinity the least or the greatest finite
// score of the head, the mean over heads where they choose together, and the mean over PolicySpec::pool neighbours.
// Neighbours are occupied slots of one head; the `recent` last positions stay in any case and are left out of it.
// `fixed_from` and `fixed_before` say that nothing is fixed. Requires: policy.scorer, and the evidence that it needs.
LayerScores score_layer(const LayerEvidence& evidence, const PolicySpec& policy);

// Of a layer of the leader's group: the leader's scores at the same positions, those of its first KV head where the
// layers have different numbers of them. `positions` is [kv_heads, slots].
LayerScores follow_scores(const LayerScores& leader, std::vector<std::int32_t> positions, std::uint32_t kv_heads);

// What one layer keeps. A value.
struct LayerKeep {
  // By KV head, or one list for all: slots below LayerScores::fixed_from that stay, ascending.
  std::vector<std::vector<std::uint32_t>> heads;

  bool shared() const { return heads.size() == 1; }
};

struct RetentionPlan {
  std::vector<LayerKeep> layers;
};

// Budgets in tokens: [layers][kv_heads], protected ones included, at least these and at most what there is.
//
// `keep` gives each head a base: its share of all positions up to the last one, and before `fixed_before` all of them.
// Uniform budgets are the bases. Other rules move tokens between layers or heads without changing the sum of the bases,
// rounded per head, unless protected tokens alone are more:
//   pyramid  falls linearly from layer to layer, to 1/20 of the mean beyond protected tokens (PyramidKV)
//   prefix   all layers keep the same share of their score (PrefixKV): the next token always goes to the layer whose
//            kept share is least. Its heads keep equally many, and their shares are averaged
//   entropy  in proportion to exp(entropy) of the scores of tokens that may go: layers that spread it wide keep more
//   ada      between the KV heads of a layer: a fifth evenly, the rest by how many of the layer's best tokens a head
//   has
//            (Ada-KV)
//   global   the best tokens of all layers and heads stay, wherever they are (KVzip): for scores that mean the same
//            everywhere, such as attention
//   slope    falls linearly from group to group of layers, to PolicySpec::group / 14 of the mean (WindowKV)
// A profile is the shares of tokens that layers kept elsewhere, times a common factor. Layers of a group get what they
// would on the mean, so that up to a token for each layer of the sum is left over.
// For prefix and entropy a head whose least score is below zero has it subtracted from all.
std::vector<std::vector<std::size_t>> budgets_of(const PolicySpec& policy, std::span<const LayerScores> layers);

// Protected tokens first (sinks, recent ones, what is fixed), then PolicySpec::recent_share of the budget for the
// newest, then units by their best mean score until the next one does not fit; equal scores go to the older. A unit is
// what may go of the positions from one multiple of PolicySpec::unit to the next. Deterministic.
RetentionPlan plan_retention(const PolicySpec& policy, std::span<const LayerScores> layers);

}  // namespace cairn
