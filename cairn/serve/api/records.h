// SPDX-License-Identifier: Apache-2.0
// What became of each request: its record, the latest records for the page, the access log, and the metrics.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <iosfwd>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cairn/serve/api/json.h"
#include "cairn/serve/backend.h"
#include "cairn/store/store.h"

namespace cairn::api {

struct RequestRecord {
  std::string id{};          // "chatcmpl-..."; empty for what generates nothing
  std::string request_id{};  // X-Request-Id
  std::string tenant{}, endpoint{}, peer{};
  int status = 0;
  std::int64_t started_s = 0;  // Unix time
  double total_s = 0;          // as the server saw it
  bool generated = false;      // it reached the backend; else what follows means nothing
  bool stream = false, client_gone = false;
  std::size_t choices = 0;
  GenerationUsage usage{};    // prompts once, answers of all choices
  GenerationTiming timing{};  // of the first choice
  std::string reason{};       // of the first choice
  std::string error{};
  std::string note{};  // what was done otherwise than the request said it
};

// How the time was spent and what was saved, in one sentence for a person.
std::string explanation(const RequestRecord& record);
OrderedJson record_json(const RequestRecord& record);

// Times to the first token of those that had one, by nearest rank.
struct FirstTokenTimes {
  std::size_t requests = 0;
  double p50_s = 0, p95_s = 0;
};
FirstTokenTimes first_token_times(std::span<const RequestRecord> records);

// The last requests that generated something. Thread-safe.
class RecentRequests {
 public:
  explicit RecentRequests(std::size_t max_records) : max_records_(max_records) {}
  void add(const RequestRecord& record);
  // Latest first.
  std::vector<RequestRecord> of_tenant(const std::string& tenant, std::size_t most) const;
  std::optional<RequestRecord> find(const std::string& id, const std::string& tenant) const;

 private:
  const std::size_t max_records_;
  mutable std::mutex mutex_;
  std::deque<RequestRecord> records_;  // guarded by mutex_; latest first
};

// One line per request on standard error, for people (logfmt) or for machines (JSON). Thread-safe.
class AccessLog {
 public:
  enum class Form : std::uint8_t { kLogfmt, kJson };
  // To standard error, or to a stream that outlives the log.
  explicit AccessLog(Form form, std::ostream* to = nullptr);
  ~AccessLog();

  void request(const RequestRecord& record);
  // A line about the server itself.
  void event(const std::string& text);
  // The same, unless this text was written so before, or 64 others were.
  void event_once(const std::string& text);

 private:
  void line(OrderedJson fields);
  struct Impl;
  const Form form_;
  std::unique_ptr<Impl> impl_;
};

// "a=1 b=\"two words\""; what could break a line or a word is escaped.
std::string logfmt(const OrderedJson& fields);

// Figures for Prometheus, with the names of vLLM's behind "cairn:", so that a dashboard for vLLM needs one replacement.
// Thread-safe.
class Metrics {
 public:
  Metrics();
  ~Metrics();

  void observe(const RequestRecord& record);
  // In Prometheus' text form. With `tenant`, lines of that one alone beside the totals.
  std::string text(const GenerateBackend& backend, const std::optional<std::string>& tenant) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cairn::api
