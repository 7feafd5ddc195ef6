// SPDX-License-Identifier: Apache-2.0
// The scores of a text in a few figures with 95 % intervals over windows.
#pragma once

#include <cstdint>
#include <span>

#include "cairn/eval/statistics.h"
#include "cairn/eval/text_run.h"

namespace cairn {

struct TextSummary {
  std::size_t windows = 0, tokens = 0;
  Estimate perplexity;
  // Against the exact cache; zeros (and ratio 1) without one.
  Estimate kl_mean, kl_median, kl_p95, kl_p99, kl_max;  // nats
  Estimate same_top1;                                   // share of tokens
  Estimate exact_perplexity, perplexity_ratio;
};

// `exact` may be empty. Requires: at least one window.
TextSummary summarise(std::span<const WindowScores> judged, std::span<const WindowScores> exact, std::uint64_t seed);

}  // namespace cairn
