// SPDX-License-Identifier: Apache-2.0
// Random scores of layers, as a cache would hand them to a plan.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "cairn/base/random.h"
#include "cairn/policy/retention.h"
#include "cairn/policy/scorer.h"

namespace cairn::testing {

// The shape of random layers; a value.
struct LayersLike {
  std::size_t layers = 3;
  std::uint32_t kv_heads = 2;
  std::size_t slots = 100;
  double empty = 0;                  // share of the slots that hold nothing, of each head's own
  int ties = 0;                      // scores are whole numbers below; 0: any
  double least = 0;                  // of the scores, up to 1
  std::size_t tail = 0, before = 0;  // slots that are fixed, at the end and at the beginning
};

inline LayerScores random_layer(SeededRandom& random, const LayersLike& like) {
  LayerScores layer;
  layer.kv_heads = like.kv_heads;
  layer.slots = like.slots;
  layer.fixed_from = like.slots - like.tail;
  layer.fixed_before = like.before;
  for (std::uint32_t head = 0; head < like.kv_heads; ++head) {
    std::int32_t position = 0;
    for (std::size_t slot = 0; slot < like.slots; ++slot) {
      const bool empty = slot + 1 < like.slots && random.unit() < like.empty;  // the last token is always there
      layer.positions.push_back(empty ? kNoToken : position);
      // Empty slots are what went before; a position may also be missing because its slot was packed over.
      ++position;
      const double score = like.ties > 0 ? static_cast<double>(random.below(static_cast<std::size_t>(like.ties)))
                                         : like.least + (1 - like.least) * random.unit();
      layer.scores.push_back(static_cast<float>(score));
    }
  }
  return layer;
}

inline std::vector<LayerScores> random_layers(SeededRandom& random, const LayersLike& like) {
  std::vector<LayerScores> layers;
  for (std::size_t l = 0; l < like.layers; ++l) layers.push_back(random_layer(random, like));
  return layers;
}

// How many slots of a head hold a token.
inline std::size_t occupied(const LayerScores& layer, std::size_t head) {
  const auto row = layer.positions.begin() + static_cast<std::ptrdiff_t>(head * layer.slots);
  return layer.slots -
         static_cast<std::size_t>(std::count(row, row + static_cast<std::ptrdiff_t>(layer.slots), kNoToken));
}

}  // namespace cairn::testing
