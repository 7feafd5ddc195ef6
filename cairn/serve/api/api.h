// SPDX-License-Identifier: Apache-2.0
// The API: which requests are answered by what, for whom.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "cairn/serve/api/access.h"
#include "cairn/serve/api/records.h"
#include "cairn/serve/api/request.h"
#include "cairn/serve/backend.h"
#include "cairn/serve/http/message.h"

namespace cairn::api {

struct Options {
  Model model{};
  OriginRules origins{};
  std::optional<Keys> keys{};                      // without: all requests are of the tenant ""
  bool metrics_open = false;                       // /metrics, of all tenants, without a key
  std::chrono::milliseconds request_time{600000};  // from a request to the end of its answer
  std::chrono::milliseconds turn_time{30000};      // how long a large text waits for its turn
  std::size_t recent = 256;                        // how many requests /api/state and /api/requests know
};

struct Context;

class Api final : public http::Handler {
 public:
  // The backend and the log must outlive it.
  Api(GenerateBackend& backend, Options options, AccessLog& log);
  ~Api() override;

  std::optional<http::Reply> screen(const http::Request& request) override;
  http::Reply handle(const http::Request& request) override;
  http::Reply refuse(const http::Request& request, int status, const std::string& why) override;

 private:
  struct Found;
  ApiResult<Found> find(const http::Request& request, RequestRecord& record) const;
  http::Reply finished(const http::Request& request, RequestRecord record, http::Reply reply);

  std::unique_ptr<Context> context_;
};

}  // namespace cairn::api
