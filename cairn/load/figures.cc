// SPDX-License-Identifier: Apache-2.0
#include "cairn/load/figures.h"

#include <algorithm>
#include <array>

#include "cairn/base/check.h"
#include "cairn/base/quantile.h"

namespace cairn::load {
namespace {

constexpr double kLateSeconds = 0.1;

bool is_good(const Record& record, const LatencyTarget& target) {
  if (!record.ok()) return false;
  if (target.first_token_s && record.first_token_s().value_or(record.latency_s()) > *target.first_token_s) return false;
  return !target.token_s || record.token_s().value_or(0) <= *target.token_s;
}

void count_tokens(const Record& record, RoundSummary& summary, std::size_t& told_prompt) {
  const Usage& usage = record.usage;
  if (!usage.prompt || !usage.completion) ++summary.uncounted;
  summary.prompt_tokens += usage.prompt.value_or(0);
  summary.output_tokens += usage.completion.value_or(0);
  summary.pieces += record.piece_s.size();
  if (usage.prompt && usage.cached) {
    summary.cached_tokens += *usage.cached;
    told_prompt += *usage.prompt;
  }
}

void add_interference(std::span<const Record> records, RoundSummary& summary) {
  const auto found = std::ranges::find(records, true, &Record::long_prompt);
  if (found == records.end() || !found->ok()) return;
  summary.long_first_token_s = found->first_token_s();
  const double sent = found->sent_s, first = found->due_s + summary.long_first_token_s.value_or(0);
  std::vector<double> before, during;
  for (const Record& record : records) {
    if (record.long_prompt || !record.ok()) continue;
    if (record.done_s < first) ++summary.streams_ended_early;
    for (std::size_t i = 1; i < record.piece_s.size(); ++i) {
      const double begin = record.piece_s[i - 1], end = record.piece_s[i];
      if (end <= sent) {
        before.push_back(end - begin);
      } else if (begin < first) {
        during.push_back(end - begin);
      }
    }
  }
  summary.gap_before_s = latency_spread(std::move(before));
  summary.gap_during_s = latency_spread(std::move(during));
}

template <auto kMember>
std::optional<double> one(const RoundSummary& summary) {
  return summary.*kMember;
}

template <auto kSpread, auto kQuantile>
std::optional<double> of(const RoundSummary& summary) {
  return summary.*kSpread.*kQuantile;
}

using S = RoundSummary;

constexpr auto kFigures = std::to_array<Figure>({
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
    {"itl_before_max_ms", "ITL before it max, ms", 1e3, of<&S::gap_before_s, &LatencySpread::max>},
    {"itl_during_p50_ms", "ITL during it p50, ms", 1e3, of<&S::gap_during_s, &LatencySpread::p50>},
    {"itl_during_p99_ms", "ITL during it p99, ms", 1e3, of<&S::gap_during_s, &LatencySpread::p99>},
    {"itl_during_max_ms", "ITL during it max, ms", 1e3, of<&S::gap_during_s, &LatencySpread::max>},
});

}  // namespace

LatencySpread latency_spread(std::vector<double> values) {
  if (values.empty()) return {};
  return {quantile(values, 0.5), quantile(values, 0.95), quantile(values, 0.99), quantile(values, 1)};
}

RoundSummary summarize_round(std::span<const Record> records, const LatencyTarget& target) {
  RoundSummary summary;
  std::vector<double> first_token, gap, token, latency;
  std::size_t told_prompt = 0, good = 0, asked = 0;
  double begin = 0, end = 0;
  for (const Record& record : records) {
    begin = summary.requests == 0 ? record.sent_s : std::min(begin, record.sent_s);
    end = std::max(end, record.done_s);
    ++summary.requests;
    if (record.late_s() > kLateSeconds) ++summary.late;
    summary.max_late_s = std::max(summary.max_late_s, record.late_s());
    if (!record.ok()) {
      if (summary.errors.empty()) {
        summary.first_error = record.error + (record.detail.empty() ? "" : ": " + record.detail);
      }
      ++summary.errors[record.error];
    } else {
      ++summary.succeeded;
      count_tokens(record, summary, told_prompt);
    }
    if (record.long_prompt) continue;
    ++asked;
    if (is_good(record, target)) ++good;
    if (!record.ok()) continue;
    if (const auto seconds = record.first_token_s()) first_token.push_back(*seconds);
    if (const auto seconds = record.token_s()) token.push_back(*seconds);
    latency.push_back(record.latency_s());
    for (std::size_t i = 1; i < record.piece_s.size(); ++i) gap.push_back(record.piece_s[i] - record.piece_s[i - 1]);
  }
  summary.seconds = end - begin;
  summary.first_token_s = latency_spread(std::move(first_token));
  summary.gap_s = latency_spread(std::move(gap));
  summary.token_s = latency_spread(std::move(token));
  summary.latency_s = latency_spread(std::move(latency));
  const auto share = [](std::size_t part, double whole) { return static_cast<double>(part) / whole; };
  if (told_prompt > 0) summary.hit_rate = share(summary.cached_tokens, static_cast<double>(told_prompt));
  if (asked > 0 && (target.first_token_s || target.token_s)) summary.goodput = share(good, static_cast<double>(asked));
  if (summary.seconds > 0 && summary.succeeded > summary.uncounted) {
    summary.output_per_s = share(summary.output_tokens, summary.seconds);
    summary.prompt_per_s = share(summary.prompt_tokens, summary.seconds);
  }
  add_interference(records, summary);
  return summary;
}

RoundSummary sum_rounds(std::span<const RoundSummary> rounds) {
  RoundSummary sum;
  for (const RoundSummary& round : rounds) {
    sum.requests += round.requests;
    sum.succeeded += round.succeeded;
    for (const auto& [kind, count] : round.errors) sum.errors[kind] += count;
    if (sum.first_error.empty()) sum.first_error = round.first_error;
    sum.seconds += round.seconds;
    sum.prompt_tokens += round.prompt_tokens;
    sum.output_tokens += round.output_tokens;
    sum.cached_tokens += round.cached_tokens;
    sum.pieces += round.pieces;
    sum.late += round.late;
    sum.max_late_s = std::max(sum.max_late_s, round.max_late_s);
    sum.uncounted += round.uncounted;
    sum.streams_ended_early += round.streams_ended_early;
  }
  return sum;
}

std::span<const Figure> all_figures() {
  return kFigures;
}

std::optional<double> median_figure(const Figure& figure, std::span<const RoundSummary> rounds) {
  std::vector<double> values;
  for (const RoundSummary& round : rounds) {
    if (const auto value = figure.of(round)) values.push_back(*value * figure.scale);
  }
  if (values.empty()) return std::nullopt;
  return quantile(values, 0.5);
}

std::optional<FigureRatio> ratio_of_figures(const Figure& figure, std::span<const RoundSummary> rounds,
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

}  // namespace cairn::load
