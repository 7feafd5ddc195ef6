// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/api/request_record.h"

#include <algorithm>
#include <cstdio>

#include "cairn/serve/api/answer_json.h"

namespace cairn {
namespace {

std::string seconds(double value) {
  char text[32];
  std::snprintf(text, sizeof text, value < 0.9995 ? "%.0f ms" : "%.2f s", value < 0.9995 ? 1000 * value : value);
  return text;
}

}  // namespace

std::string explanation(const RequestRecord& record) {
  const GenerationUsage& usage = record.usage;
  const GenerationTiming& timing = record.timing;
  std::string text = std::to_string(usage.cached_tokens) + " of " + std::to_string(usage.prompt_tokens) +
                     " prompt tokens were taken from the cache";
  if (usage.stored_tokens > 0) text += " (" + std::to_string(usage.stored_tokens) + " of them from the store)";
  text += ", " + std::to_string(usage.prompt_tokens - std::min(usage.cached_tokens, usage.prompt_tokens)) +
          " were computed. It waited " + seconds(timing.queued_s) + ", loaded for " + seconds(timing.load_s) +
          ", computed the prompt in " + seconds(timing.prefill_s) + "; the first token came after " +
          seconds(timing.first_token_s) + ", the end after " + seconds(timing.total_s) + ".";
  if (usage.preempted > 0) text += " It made room for others " + std::to_string(usage.preempted) + " times.";
  if (record.client_gone) text += " The client went away.";
  return text;
}

OrderedJson record_json(const RequestRecord& record) {
  const GenerationTiming& timing = record.timing;
  OrderedJson usage = usage_json(record.usage);
  usage["preempted"] = record.usage.preempted;
  return {{"id", record.id},
          {"request_id", record.request_id},
          {"endpoint", record.endpoint},
          {"status", record.status},
          {"started", record.started_s},
          {"stream", record.stream},
          {"choices", record.choices},
          {"client_gone", record.client_gone},
          {"finish_reason", record.reason},
          {"error", record.error.empty() ? OrderedJson(nullptr) : OrderedJson(record.error)},
          {"usage", std::move(usage)},
          {"timing",
           {{"queued_s", timing.queued_s},
            {"load_s", timing.load_s},
            {"prefill_s", timing.prefill_s},
            {"first_token_s", timing.first_token_s},
            {"total_s", timing.total_s},
            {"longest_gap_s", timing.longest_gap_s}}},
          {"explanation", explanation(record)}};
}

FirstTokenTimes first_token_times(std::span<const RequestRecord> records) {
  std::vector<double> times;
  for (const RequestRecord& record : records) {
    if (record.usage.completion_tokens > 0) times.push_back(record.timing.first_token_s);
  }
  if (times.empty()) return {};
  std::ranges::sort(times);
  const auto rank = [&](std::size_t percent) { return times[(times.size() * percent + 99) / 100 - 1]; };
  return {.requests = times.size(), .p50_s = rank(50), .p95_s = rank(95)};
}

void RecentRequests::add(const RequestRecord& record) {
  const std::lock_guard lock(mutex_);
  records_.push_front(record);
  if (records_.size() > most_) records_.pop_back();
}

std::vector<RequestRecord> RecentRequests::of_tenant(const std::string& tenant, std::size_t most) const {
  std::vector<RequestRecord> found;
  const std::lock_guard lock(mutex_);
  for (const RequestRecord& record : records_) {
    if (record.tenant == tenant && found.size() < most) found.push_back(record);
  }
  return found;
}

std::optional<RequestRecord> RecentRequests::find(const std::string& id, const std::string& tenant) const {
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find_if(
      records_, [&](const RequestRecord& record) { return record.id == id && record.tenant == tenant; });
  return found == records_.end() ? std::nullopt : std::optional(*found);
}

}  // namespace cairn
