// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/api/records.h"

#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <mutex>
#include <set>
#include <string>

#include "cairn/serve/api/answer_json.h"

namespace cairn::api {
namespace {

std::string seconds(double value) {
  char text[32];
  std::snprintf(text, sizeof text, value < 0.9995 ? "%.0f ms" : "%.2f s", value < 0.9995 ? 1000 * value : value);
  return text;
}

double milli(double seconds) {
  return std::round(seconds * 1e6) / 1e6;
}

std::string utc_now() {
  const auto now = std::chrono::system_clock::now();
  const std::time_t whole = std::chrono::system_clock::to_time_t(now);
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  std::tm parts{};
  ::gmtime_r(&whole, &parts);
  char text[64];
  const std::size_t length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(text + length, sizeof text - length, ".%03dZ", static_cast<int>(ms));
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
  if (usage.known_tokens > usage.cached_tokens) {
    text += " " + std::to_string(usage.known_tokens) +
            " were in memory, but not all that layers with a window see of them: their pages went first when memory "
            "was short.";
  }
  if (usage.preempted > 0) text += " It made room for others " + std::to_string(usage.preempted) + " times.";
  if (!usage.policy.policy.empty()) text += " Policy " + policy_text(usage.policy) + ".";
  if (record.client_gone) text += " The client went away.";
  return text;
}

OrderedJson record_json(const RequestRecord& record) {
  const GenerationTiming& timing = record.timing;
  OrderedJson usage = usage_json(record.usage);
  usage["preempted"] = record.usage.preempted;
  if (const PolicyFigures& policy = record.usage.policy; !policy.policy.empty()) {
    usage["policy"] = {{"name", policy.policy},
                       {"kept", policy.kept},
                       {"demoted", policy.demoted},
                       {"kv_bytes_freed", policy.bytes_freed},
                       {"kv_bytes_offloaded", policy.bytes_offloaded},
                       {"read", policy.read},
                       {"put_off", policy.put_off},
                       {"not_offloaded", policy.not_offloaded}};
  }
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
  if (records_.size() > max_records_) records_.pop_back();
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

struct AccessLog::Impl {
  spdlog::logger logger;
  std::mutex mutex{};
  std::set<std::string> once{};  // guarded by mutex
};

AccessLog::AccessLog(Form form, std::ostream* to) : form_(form) {
  spdlog::sink_ptr sink;
  if (to == nullptr) {
    sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  } else {
    sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(*to, /*force_flush=*/true);
  }
  impl_ = std::make_unique<Impl>(spdlog::logger("cairn", std::move(sink)));
  impl_->logger.set_pattern("%v");
}

AccessLog::~AccessLog() = default;

void AccessLog::request(const RequestRecord& record) {
  OrderedJson fields = {{"msg", "request"},
                        {"request_id", record.request_id},
                        {"tenant", record.tenant},
                        {"peer", record.peer},
                        {"endpoint", record.endpoint},
                        {"status", record.status},
                        {"total_s", milli(record.total_s)}};
  if (record.generated) {
    fields["id"] = record.id;
    fields["stream"] = record.stream;
    fields["choices"] = record.choices;
    fields["prompt_tokens"] = record.usage.prompt_tokens;
    fields["cached_tokens"] = record.usage.cached_tokens;
    fields["stored_tokens"] = record.usage.stored_tokens;
    fields["completion_tokens"] = record.usage.completion_tokens;
    fields["queued_s"] = milli(record.timing.queued_s);
    fields["load_s"] = milli(record.timing.load_s);
    fields["prefill_s"] = milli(record.timing.prefill_s);
    fields["first_token_s"] = milli(record.timing.first_token_s);
    fields["finish_reason"] = record.reason;
    fields["client_gone"] = record.client_gone;
  }
  if (!record.error.empty()) fields["error"] = record.error;
  if (!record.note.empty()) fields["note"] = record.note;
  line(std::move(fields));
}

void AccessLog::event(const std::string& text) {
  line({{"msg", text}});
}

void AccessLog::event_once(const std::string& text) {
  constexpr std::size_t kMaxTexts = 64;  // some have figures in them
  {
    const std::lock_guard lock(impl_->mutex);
    if (impl_->once.size() == kMaxTexts || !impl_->once.insert(text).second) return;
  }
  event(text);
}

void AccessLog::line(OrderedJson fields) {
  OrderedJson all = {{"time", utc_now()}};
  all.update(fields);
  impl_->logger.info("{}", form_ == Form::kJson ? json_text(all) : logfmt(all));
}

std::string logfmt(const OrderedJson& fields) {
  std::string line;
  for (const auto& [name, value] : fields.items()) {
    std::string text = json_text(value);
    if (value.is_string()) {
      const std::string& raw = value.get_ref<const std::string&>();
      const bool plain = !raw.empty() && std::ranges::all_of(raw, [](char c) {
        return c > ' ' && c < 0x7F && c != '"' && c != '=' && c != '\\';
      });
      if (plain) text = raw;
    }
    line += (line.empty() ? "" : " ") + name + "=" + text;
  }
  return line;
}

}  // namespace cairn::api
