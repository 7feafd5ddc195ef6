// SPDX-License-Identifier: Apache-2.0
#include "cairn/load/round_summary.h"

#include <algorithm>

#include "cairn/base/quantile.h"

namespace cairn {
namespace {

constexpr double kLateSeconds = 0.1;

bool is_good(const LoadRecord& record, const LatencyTarget& target) {
  if (!record.ok()) return false;
  if (target.first_token_s && record.first_token_s().value_or(record.latency_s()) > *target.first_token_s) return false;
  return !target.token_s || record.token_s().value_or(0) <= *target.token_s;
}

void count_tokens(const LoadRecord& record, RoundSummary& summary, std::size_t& told_prompt) {
  const LoadUsage& usage = record.usage;
  if (!usage.prompt || !usage.completion) ++summary.uncounted;
  summary.prompt_tokens += usage.prompt.value_or(0);
  summary.output_tokens += usage.completion.value_or(0);
  summary.pieces += record.piece_s.size();
  if (usage.prompt && usage.cached) {
    summary.cached_tokens += *usage.cached;
    told_prompt += *usage.prompt;
  }
}

void add_interference(std::span<const LoadRecord> records, RoundSummary& summary) {
  const auto found = std::ranges::find(records, true, &LoadRecord::long_prompt);
  if (found == records.end() || !found->ok()) return;
  summary.long_first_token_s = found->first_token_s();
  const double sent = found->sent_s, first = found->due_s + summary.long_first_token_s.value_or(0);
  std::vector<double> before, during;
  for (const LoadRecord& record : records) {
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

}  // namespace

LatencySpread latency_spread(std::vector<double> values) {
  if (values.empty()) return {};
  return {quantile(values, 0.5), quantile(values, 0.95), quantile(values, 0.99), quantile(values, 1)};
}

RoundSummary summarize_round(std::span<const LoadRecord> records, const LatencyTarget& target) {
  RoundSummary summary;
  std::vector<double> first_token, gap, token, latency;
  std::size_t told_prompt = 0, good = 0, asked = 0;
  double begin = 0, end = 0;
  for (const LoadRecord& record : records) {
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

}  // namespace cairn
