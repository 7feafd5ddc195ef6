// SPDX-License-Identifier: Apache-2.0
// Test support: the API over a fake backend, on a port of its own.
#pragma once

#include <memory>
#include <sstream>
#include <string>

#include "cairn/serve/api/api.h"
#include "cairn/serve/http/server.h"
#include "cairn/testing/fake_backend.h"

namespace cairn {

struct ApiServer {
  FakeBackend backend;
  api::Options options{.model = {.tokenizer = &backend.tokenizer(),
                                 .context = backend.context(),
                                 .chat_template = ChatFamily::kPlain,
                                 .name = "tiny"}};
  http::ServerOptions http{.port = 0, .threads = 8};
  std::ostringstream logged;  // read it after stop()

  void start() {
    log_ = std::make_unique<api::AccessLog>(api::AccessLog::Form::kLogfmt, &logged);
    api_ = std::make_unique<api::Api>(backend, options, *log_);
    server_ = *http::Server::start(http, *api_);
  }
  void stop() { server_.reset(); }
  int port() const { return server_->port(); }

 private:
  std::unique_ptr<api::AccessLog> log_;
  std::unique_ptr<api::Api> api_;
  std::unique_ptr<http::Server> server_;
};

// Bounded waiting for what another thread is about to do.
template <class Condition>
bool eventually(const Condition& condition) {
  const Deadline deadline = deadline_in(std::chrono::seconds(20));
  while (!condition()) {
    if (passed(deadline)) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

}  // namespace cairn
