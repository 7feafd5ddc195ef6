// SPDX-License-Identifier: Apache-2.0
// What the queries of a text say of its keys, for a cold form: along which directions an error in a key costs most, and
// how much attention each token draws from later ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cairn/attention/signals.h"
#include "cairn/block/layer_spec.h"
#include "cairn/block/shape.h"

namespace cairn::train {

// Listens to windows of a text, each from position 0. Thread-compatible.
class ColdSignals final : public SignalListener {
 public:
  // `tokens` of all windows together, `window` of each. Requires: layers of one shape.
  ColdSignals(std::span<const LayerSpec> layers, std::size_t tokens, std::size_t window);

  SignalRequest wants(std::uint32_t layer) const override;
  void stored(const StoredRows& rows) override;
  void attended(const AttendedRows& rows) override;

  // Mean of q q' over queries that meet the keys of one head, as if the keys were not rotated: [head_dim, head_dim].
  std::vector<double> query_moments(std::uint32_t layer, std::uint32_t kv_head) const;
  // log2 of the root mean square of the weight that later queries give a token, all heads together, on the mean of what
  // a token can expect; nothing is known of the last of a window, which are not a number. [tokens]
  std::vector<double> saliency(std::uint32_t layer) const;

 private:
  struct Layer {
    std::vector<float> keys;          // of this window, [window, kv_heads, head_dim]
    std::vector<double> moments;      // sums, [kv_heads, head_dim, head_dim]
    std::uint64_t queries = 0;        // that each head's moments sum up
    std::vector<double> squares;      // of weights on their expectation, summed over heads and queries: [tokens]
    std::vector<std::uint32_t> seen;  // by so many queries
    std::size_t window = 0;           // that is listened to, counted from 1
  };
  void add_moments(const AttendedRows& rows, std::size_t row, Layer& layer) const;
  void add_weights(const AttendedRows& rows, std::size_t row, Layer& layer) const;

  std::vector<LayerSpec> specs_;
  PageShape shape_;
  std::size_t tokens_, window_;
  std::vector<Layer> layers_;
};

}  // namespace cairn::train
