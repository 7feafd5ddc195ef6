// SPDX-License-Identifier: Apache-2.0
// What one predicted token says about a cache, from rows of logits.
#pragma once

#include <span>
#include <vector>

#include "cairn/block/block_key.h"

namespace cairn {

// The distribution that a row of logits means.
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

struct TokenScore {
  double nll = 0;        // -log p(next token), nats
  double kl = 0;         // from the exact distribution; 0 without a reference
  bool same_top = true;  // the likeliest token is that of the exact cache
};

}  // namespace cairn
