// SPDX-License-Identifier: Apache-2.0
// What figures are made of: scores of single tokens from rows of logits, and summaries with their uncertainty.
// Functions may be called from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "cairn/block/block_key.h"

namespace cairn {

// A figure and its 95 % interval.
struct Estimate {
  double value = 0, low = 0, high = 0;
};

// Wilson's score interval of `successes` out of `trials`. Zero trials: 0 with the interval [0, 1].
Estimate wilson(std::size_t successes, std::size_t trials);

// Figures of all groups, with percentile intervals over `resamples` draws of whole groups with replacement: what lies
// in one group may depend on each other. `figures` gets the indices of the drawn groups and fills its span of `count`.
// Requires: groups > 0. With one group there is nothing to draw from: each interval is the value itself.
std::vector<Estimate> bootstrap(
    std::size_t groups, std::size_t count, std::uint64_t seed,
    const std::function<void(std::span<const std::size_t> drawn, std::span<double> figures)>& figures,
    std::size_t resamples = 1000);

// The distribution that a row of logits means. Thread-compatible. Views the row, which must stay until the next
// assign().
class LogProbabilities {
 public:
  // Requires: not empty.
  void assign(std::span<const float> logits);

  double operator[](std::size_t token) const { return static_cast<double>(logits_[token]) - log_sum_; }
  std::size_t likeliest() const { return likeliest_; }
  // KL(this || other) in nats; exactly 0 when the logits are equal. Requires: the same vocabulary.
  double divergence_to(const LogProbabilities& other) const;

 private:
  std::span<const float> logits_;  // not owned
  double log_sum_ = 0;
  std::size_t likeliest_ = 0;
};

// A value.
struct TokenScore {
  double nll = 0;        // -log p(next token), nats
  double kl = 0;         // from the exact distribution; 0 without a reference
  bool same_top = true;  // the likeliest token is that of the exact cache
};

}  // namespace cairn
