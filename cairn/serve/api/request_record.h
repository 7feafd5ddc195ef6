// SPDX-License-Identifier: Apache-2.0
// What became of a request: for the log, the metrics and the page.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cairn/serve/api/json_text.h"
#include "cairn/serve/generate_request.h"

namespace cairn {

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
  explicit RecentRequests(std::size_t most) : most_(most) {}
  void add(const RequestRecord& record);
  // Latest first.
  std::vector<RequestRecord> of_tenant(const std::string& tenant, std::size_t most) const;
  std::optional<RequestRecord> find(const std::string& id, const std::string& tenant) const;

 private:
  const std::size_t most_;
  mutable std::mutex mutex_;
  std::deque<RequestRecord> records_;  // guarded by mutex_; latest first
};

}  // namespace cairn
