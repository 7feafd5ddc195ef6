// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/token_scores.h"

#include <algorithm>
#include <cmath>

#include "cairn/base/check.h"

namespace cairn {

void LogProbabilities::assign(std::span<const float> logits) {
  CAIRN_DCHECK(!logits.empty());
  logits_ = logits;
  likeliest_ = static_cast<std::size_t>(std::ranges::max_element(logits) - logits.begin());
  const double top = logits[likeliest_];
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - top);
  log_sum_ = top + std::log(sum);
}

double LogProbabilities::divergence_to(const LogProbabilities& other) const {
  CAIRN_DCHECK(logits_.size() == other.logits_.size());
  double sum = 0;
  for (std::size_t i = 0; i < logits_.size(); ++i) {
    const double mine = (*this)[i];
    sum += std::exp(mine) * (mine - other[i]);
  }
  return std::max(0.0, sum);  // rounding may leave a little less than nothing
}

}  // namespace cairn
