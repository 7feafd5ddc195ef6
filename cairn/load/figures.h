// SPDX-License-Identifier: Apache-2.0
// What was measured: of one request, of a round, and of several rounds.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cairn/load/stream.h"

namespace cairn::load {

// One request. Times are seconds since the start of its round.
struct Record {
  std::size_t client = 0, turn = 0;
  bool long_prompt = false;  // the one that interferes
  double due_s = 0;          // when it ought to be sent
  double sent_s = 0;
  double done_s = 0;                 // the end of the answer, or of the attempt
  std::vector<double> piece_s;       // when each piece of text came
  std::optional<double> finished_s;  // when the reason of finishing came
  Usage usage;
  std::string error;   // its kind; empty: the answer is whole
  std::string detail;  // of the error, one line

  bool ok() const { return error.empty(); }
  double late_s() const { return sent_s - due_s; }
  // The user waits from the moment the request was due: a client that comes too late hides nothing.
  std::optional<double> first_token_s() const {
    if (!piece_s.empty()) return piece_s.front() - due_s;
    return finished_s ? std::optional(*finished_s - due_s) : std::nullopt;  // an answer without text
  }
  double latency_s() const { return done_s - due_s; }
  // Mean time of a token after the first, by the server's count; absent for fewer than two.
  std::optional<double> token_s() const {
    if (piece_s.size() < 2 || !usage.completion || *usage.completion < 2) return std::nullopt;
    return (piece_s.back() - piece_s.front()) / static_cast<double>(*usage.completion - 1);
  }
};

// What a request must keep to count as good; absent: anything will do.
struct LatencyTarget {
  std::optional<double> first_token_s;
  std::optional<double> token_s;  // the mean of its tokens after the first
};

// Quantiles, linear between neighbours; absent when there is nothing to take them of.
struct LatencySpread {
  std::optional<double> p50, p95, p99, max;
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

RoundSummary summarize_round(std::span<const Record> records, const LatencyTarget& target);

// The counts of several rounds; without their figures.
RoundSummary sum_rounds(std::span<const RoundSummary> rounds);

// The figures that are reported, in order.
struct Figure {
  const char* key;    // in JSON
  const char* title;  // in the table, with its unit
  double scale;       // from the summary's unit to the title's
  std::optional<double> (*of)(const RoundSummary&);
};
std::span<const Figure> all_figures();

// The median of a figure over the rounds that have it, in the figure's unit.
std::optional<double> median_figure(const Figure& figure, std::span<const RoundSummary> rounds);

// A server's figure to that of the first server.
struct FigureRatio {
  double of_medians = 0;
  double low = 0, high = 0;  // of single rounds: how much chance there is in it
};

// Absent where either has no such figure or the first one's is 0. Requires: as many rounds of both.
std::optional<FigureRatio> ratio_of_figures(const Figure& figure, std::span<const RoundSummary> rounds,
                                            std::span<const RoundSummary> first);

}  // namespace cairn::load
