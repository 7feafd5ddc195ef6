// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/api/access_log.h"

#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>

namespace cairn {
namespace {

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

struct AccessLog::Impl {
  spdlog::logger logger;
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
  line(std::move(fields));
}

void AccessLog::event(const std::string& text) {
  line({{"msg", text}});
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

}  // namespace cairn
