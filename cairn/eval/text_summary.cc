// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/text_summary.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "cairn/base/quantile.h"

namespace cairn {
namespace {

enum Figure : std::size_t { kPerplexity, kMean, kMedian, kP95, kP99, kMax, kSame, kExactPerplexity, kRatio, kFigures };

}  // namespace

TextSummary summarise(std::span<const WindowScores> judged, std::span<const WindowScores> exact, std::uint64_t seed) {
  std::vector<double> kl;
  const auto figures = [&](std::span<const std::size_t> drawn, std::span<double> out) {
    kl.clear();
    double nll = 0, exact_nll = 0, sum = 0;
    std::size_t same = 0;
    for (const std::size_t w : drawn) {
      for (const TokenScore& score : judged[w]) {
        nll += score.nll;
        sum += score.kl;
        same += score.same_top ? 1 : 0;
        kl.push_back(score.kl);
      }
      if (exact.empty()) continue;
      for (const TokenScore& score : exact[w]) exact_nll += score.nll;
    }
    const auto tokens = static_cast<double>(kl.size());
    out[kPerplexity] = std::exp(nll / tokens);
    out[kMean] = sum / tokens;
    if (!exact.empty()) {
      out[kMedian] = quantile(kl, 0.5);
      out[kP95] = quantile(kl, 0.95);
      out[kP99] = quantile(kl, 0.99);
      out[kMax] = *std::ranges::max_element(kl);
    }
    out[kSame] = static_cast<double>(same) / tokens;
    out[kExactPerplexity] = exact.empty() ? 0 : std::exp(exact_nll / tokens);
    out[kRatio] = exact.empty() ? 1 : std::exp((nll - exact_nll) / tokens);
  };
  const std::vector<Estimate> of = bootstrap(judged.size(), kFigures, seed, figures);
  return {.windows = judged.size(),
          .tokens = judged.size() * judged.front().size(),
          .perplexity = of[kPerplexity],
          .kl_mean = of[kMean],
          .kl_median = of[kMedian],
          .kl_p95 = of[kP95],
          .kl_p99 = of[kP99],
          .kl_max = of[kMax],
          .same_top1 = of[kSame],
          .exact_perplexity = of[kExactPerplexity],
          .perplexity_ratio = of[kRatio]};
}

}  // namespace cairn
