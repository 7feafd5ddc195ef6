// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cairn/base/check.h"
#include "cairn/base/quantile.h"
#include "cairn/base/random.h"

namespace cairn {

Estimate wilson(std::size_t successes, std::size_t trials) {
  if (trials == 0) return {0, 0, 1};
  constexpr double kZ = 1.959963984540054;  // 95 %
  const double n = static_cast<double>(trials), p = static_cast<double>(successes) / n, z2 = kZ * kZ;
  const double centre = (p + z2 / (2 * n)) / (1 + z2 / n);
  const double half = kZ * std::sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n);
  return {p, std::max(0.0, std::min(p, centre - half)), std::min(1.0, std::max(p, centre + half))};
}

std::vector<Estimate> bootstrap(
    std::size_t groups, std::size_t count, std::uint64_t seed,
    const std::function<void(std::span<const std::size_t> drawn, std::span<double> figures)>& figures,
    std::size_t resamples) {
  CAIRN_CHECK(groups > 0);
  std::vector<std::size_t> drawn(groups);
  std::iota(drawn.begin(), drawn.end(), std::size_t{0});
  std::vector<double> values(count);
  figures(drawn, values);
  std::vector<Estimate> estimates(count);
  for (std::size_t f = 0; f < count; ++f) estimates[f] = {values[f], values[f], values[f]};
  if (groups == 1) return estimates;
  SeededRandom random(seed, "bootstrap", groups);
  std::vector<std::vector<double>> of_figure(count, std::vector<double>(resamples));
  for (std::size_t i = 0; i < resamples; ++i) {
    for (std::size_t& group : drawn) group = random.below(groups);
    figures(drawn, values);
    for (std::size_t f = 0; f < count; ++f) of_figure[f][i] = values[f];
  }
  for (std::size_t f = 0; f < count; ++f) {
    estimates[f].low = quantile(of_figure[f], 0.025);
    estimates[f].high = quantile(of_figure[f], 0.975);
  }
  return estimates;
}

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
