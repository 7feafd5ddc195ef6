// SPDX-License-Identifier: Apache-2.0
// The figures of a round, and of several.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cairn/load/load_record.h"

namespace cairn {

// What a request must keep to count as good; absent: anything will do.
struct LatencyTarget {
  std::optional<double> first_token_s;
  std::optional<double> token_s;  // the mean of its tokens after the first
};

// Quantiles, linear between neighbours; absent when there is nothing to take them of.
struct LatencySpread {
  std::optional<double> p50, p95, p99, most;
};

LatencySpread latency_spread(std::vector<double> values);

struct RoundSummary {
  std::size_t requests = 0, succeeded = 0;
  std::map<std::string, std::size_t> errors;  // by kind
  std::string first_error;                    // its kind and what the server said
  double seconds = 0;                         // from the first request sent to the last answer
  std::size_t prompt_tokens = 0, output_tokens = 0, cached_tokens = 0;  // of those that succeeded
  std::size_t pieces = 0;
  std::size_t late = 0;  // sent more than 0.1 s after they were due
  double max_late_s = 0;
  std::size_t uncounted = 0;  // succeeded without usage: their tokens are missing above

  // Without the long prompt of the interference.
  LatencySpread first_token_s, gap_s, token_s, latency_s;  // gap: between pieces of one answer
  std::optional<double> hit_rate;                          // absent: the server does not tell cached tokens
  std::optional<double> goodput;                           // share of all requests asked; absent: no target was given
  std::optional<double> output_per_s, prompt_per_s;

  // Of the streams, before the long prompt is sent and from then to its first token.
  LatencySpread gap_before_s, gap_during_s;
  std::optional<double> long_first_token_s;
  std::size_t streams_ended_early = 0;  // before the long prompt's first token
};

RoundSummary summarize_round(std::span<const LoadRecord> records, const LatencyTarget& target);

// The figures that are reported, in order.
struct LoadFigure {
  const char* key;    // in JSON
  const char* title;  // in the table, with its unit
  double scale;       // from the summary's unit to the title's
  std::optional<double> (*of)(const RoundSummary&);
};
std::span<const LoadFigure> load_figures();

// The median of a figure over the rounds that have it, in the figure's unit.
std::optional<double> median_figure(const LoadFigure& figure, std::span<const RoundSummary> rounds);

// A server's figure to that of the first server.
struct FigureRatio {
  double of_medians = 0;
  double low = 0, high = 0;  // of single rounds: how much chance there is in it
};

// Absent where either has no such figure or the first one's is 0. Requires: as many rounds of both.
std::optional<FigureRatio> ratio_of_figures(const LoadFigure& figure, std::span<const RoundSummary> rounds,
                                            std::span<const RoundSummary> first);

}  // namespace cairn
