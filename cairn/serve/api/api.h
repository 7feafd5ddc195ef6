// SPDX-License-Identifier: Apache-2.0
// The API: which requests are answered by what, for whom.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "cairn/serve/api/access_log.h"
#include "cairn/serve/api/api_keys.h"
#include "cairn/serve/api/api_request.h"
#include "cairn/serve/api/metrics.h"
#include "cairn/serve/api/origin.h"
#include "cairn/serve/api/request_record.h"
#include "cairn/serve/api/text_turns.h"
#include "cairn/serve/generate_backend.h"
#include "cairn/serve/http/http_message.h"

namespace cairn {

struct ApiOptions {
  ApiModel model{};
  OriginRules origins{};
  std::optional<ApiKeys> keys{};                   // without: everybody is the tenant ""
  bool metrics_open = false;                       // /metrics, of all tenants, without a key
  std::chrono::milliseconds request_time{600000};  // from a request to the end of its answer
  std::chrono::milliseconds turn_time{30000};      // a large text waits so long for its turn
  std::size_t recent = 256;                        // requests that /api/state and /api/requests know
};

// What endpoints work with.
struct ApiContext {
  GenerateBackend& backend;
  const ApiOptions options;
  AccessLog& log;
  Metrics metrics{};
  RecentRequests recent{options.recent};
  TextTurns turns{kLargeTextsAtOnce};
  const std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
  const std::int64_t started_s = 0;  // Unix time

  // Logs, counts and remembers a request that is over.
  void note(const RequestRecord& record);
};

inline constexpr int kClientGoneStatus = 499;  // for the log: nobody reads it

struct ApiCall {
  const HttpRequest& http;
  const std::chrono::steady_clock::time_point began;
  RequestRecord record;
  bool all_tenants = false;  // may see figures of all
};

class Api final : public HttpHandler {
 public:
  // The backend and the log must outlive it.
  Api(GenerateBackend& backend, ApiOptions options, AccessLog& log);

  std::optional<HttpReply> screen(const HttpRequest& request) override;
  HttpReply handle(const HttpRequest& request) override;
  HttpReply refuse(const HttpRequest& request, int status, const std::string& why) override;

 private:
  struct Found;
  ApiResult<Found> find(const HttpRequest& request, RequestRecord& record) const;
  HttpReply finished(const HttpRequest& request, RequestRecord record, HttpReply reply);

  ApiContext context_;
};

// `bytes` random bytes in hexadecimal, to tell things apart.
std::string random_id(std::size_t bytes);
std::int64_t unix_now();

}  // namespace cairn
