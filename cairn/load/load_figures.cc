// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>

#include "cairn/base/check.h"
#include "cairn/base/quantile.h"
#include "cairn/load/round_summary.h"

namespace cairn {
namespace {

template <auto kMember>
std::optional<double> one(const RoundSummary& summary) {
  return summary.*kMember;
}

template <auto kSpread, auto kQuantile>
std::optional<double> of(const RoundSummary& summary) {
  return summary.*kSpread.*kQuantile;
}

using S = RoundSummary;

constexpr auto kFigures = std::to_array<LoadFigure>({
    {"ttft_p50_ms", "TTFT p50, ms", 1e3, of<&S::first_token_s, &LatencySpread::p50>},
    {"ttft_p95_ms", "TTFT p95, ms", 1e3, of<&S::first_token_s, &LatencySpread::p95>},
    {"ttft_p99_ms", "TTFT p99, ms", 1e3, of<&S::first_token_s, &LatencySpread::p99>},
    {"itl_p50_ms", "ITL p50, ms", 1e3, of<&S::gap_s, &LatencySpread::p50>},
    {"itl_p95_ms", "ITL p95, ms", 1e3, of<&S::gap_s, &LatencySpread::p95>},
    {"itl_p99_ms", "ITL p99, ms", 1e3, of<&S::gap_s, &LatencySpread::p99>},
    {"token_p50_ms", "time per token p50, ms", 1e3, of<&S::token_s, &LatencySpread::p50>},
    {"latency_p50_ms", "latency p50, ms", 1e3, of<&S::latency_s, &LatencySpread::p50>},
    {"latency_p95_ms", "latency p95, ms", 1e3, of<&S::latency_s, &LatencySpread::p95>},
    {"latency_p99_ms", "latency p99, ms", 1e3, of<&S::latency_s, &LatencySpread::p99>},
    {"output_tokens_per_s", "output tokens/s", 1, one<&S::output_per_s>},
    {"prompt_tokens_per_s", "prompt tokens/s", 1, one<&S::prompt_per_s>},
    {"hit_rate", "hit rate, %", 100, one<&S::hit_rate>},
    {"goodput", "goodput, %", 100, one<&S::goodput>},
    {"long_ttft_ms", "TTFT of the long prompt, ms", 1e3, one<&S::long_first_token_s>},
    {"itl_before_p50_ms", "ITL before it p50, ms", 1e3, of<&S::gap_before_s, &LatencySpread::p50>},
    {"itl_before_p99_ms", "ITL before it p99, ms", 1e3, of<&S::gap_before_s, &LatencySpread::p99>},
    {"itl_before_max_ms", "ITL before it max, ms", 1e3, of<&S::gap_before_s, &LatencySpread::most>},
    {"itl_during_p50_ms", "ITL during it p50, ms", 1e3, of<&S::gap_during_s, &LatencySpread::p50>},
    {"itl_during_p99_ms", "ITL during it p99, ms", 1e3, of<&S::gap_during_s, &LatencySpread::p99>},
    {"itl_during_max_ms", "ITL during it max, ms", 1e3, of<&S::gap_during_s, &LatencySpread::most>},
});

}  // namespace

std::span<const LoadFigure> load_figures() {
  return kFigures;
}

std::optional<double> median_figure(const LoadFigure& figure, std::span<const RoundSummary> rounds) {
  std::vector<double> values;
  for (const RoundSummary& round : rounds) {
    if (const auto value = figure.of(round)) values.push_back(*value * figure.scale);
  }
  if (values.empty()) return std::nullopt;
  return quantile(values, 0.5);
}

std::optional<FigureRatio> ratio_of_figures(const LoadFigure& figure, std::span<const RoundSummary> rounds,
                                            std::span<const RoundSummary> first) {
  CAIRN_CHECK(rounds.size() == first.size());
  const auto value = median_figure(figure, rounds), base = median_figure(figure, first);
  if (!value || !base || *base == 0) return std::nullopt;
  FigureRatio ratio{*value / *base, *value / *base, *value / *base};
  for (std::size_t r = 0; r < rounds.size(); ++r) {
    const auto one = figure.of(rounds[r]), other = figure.of(first[r]);
    if (!one || !other || *other == 0) continue;
    ratio.low = std::min(ratio.low, *one / *other);
    ratio.high = std::max(ratio.high, *one / *other);
  }
  return ratio;
}

}  // namespace cairn
