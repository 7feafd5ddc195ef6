// SPDX-License-Identifier: Apache-2.0
// The tables of a cold form (codec/cold_form.h) for a model, from what it computes for a text. After KVTC's
// calibration: the Karhunen-Loeve transform across heads, here of keys weighted by queries and of values weighted by
// the output projection. One step then serves all axes, which is what its dynamic programme tends to where codes are
// entropy coded (reverse water-filling); axes on which it never leaves zero are dropped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "cairn/base/hash.h"
#include "cairn/base/result.h"
#include "cairn/base/thread_pool.h"
#include "cairn/block/layer_spec.h"
#include "cairn/codec/codebooks.h"
#include "cairn/train/cold_signals.h"
#include "cairn/train/kv_samples.h"

namespace cairn::train {

// Everything is the same for any number of threads. Thread-compatible; `pool` must outlive it.
class ColdTrainer {
 public:
  using Progress = std::function<void(std::size_t done, std::size_t total)>;

  // value_weights: output_moments() of each layer. Requires: layers that cold::check_shape grants, and `signals` that
  // listened to `samples`.
  ColdTrainer(const KvSamples& samples, const ColdSignals& signals, std::span<const LayerSpec> layers,
              std::span<const std::vector<double>> value_weights, ThreadPool& pool, const Progress& on_progress = {});

  // Bits for each value that the sample would take at this size of steps, 1 being a middling one; parts' heads
  // included.
  double bits(double step) const;
  // The size of steps at which it takes `bits`.
  double step_for(double bits) const;
  Result<Codebooks> train(double step, const Digest& model) const;

 private:
  struct Unit {                   // a layer and slot
    std::vector<double> forward;  // [n, n], in steps of size 1
    std::vector<double> back;     // its inverse
    std::vector<float> mean, saliency;
    std::vector<float> on_axes;        // [tokens, n], in steps of size 1, times the scale of the token
    std::vector<std::uint8_t> scales;  // [tokens], symbols
  };
  struct Coded {
    std::uint32_t axes = 0;
    float shift = 0;
    std::vector<std::uint16_t> counts;
    double bits = 0;  // of all tokens
  };
  void fit(std::size_t layer, const KvSamples& samples, const ColdSignals& signals, const LayerSpec& spec,
           std::span<const double> value_weights);
  Coded code(const Unit& unit, double step) const;

  PageShape shape_;
  ThreadPool& pool_;
  std::vector<Unit> units_;
};

}  // namespace cairn::train
