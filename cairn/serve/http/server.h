// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 with bounds on everything that a client could make large or slow.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include "cairn/base/result.h"
#include "cairn/serve/http/connection.h"
#include "cairn/serve/http/message.h"

namespace cairn::http {

struct ServerOptions {
  std::string host = "127.0.0.1";
  int port = 8080;                // 0: any that is free
  std::size_t threads = 64;       // connections that are served at a time
  std::size_t max_waiting = 256;  // connections that wait for a thread; more get 503
  std::size_t max_body_bytes = std::size_t{16} << 20;
  std::size_t max_head_bytes = std::size_t{64} << 10;
  std::chrono::milliseconds head_time{10000};   // from the first byte of a request to the end of its head
  std::chrono::milliseconds body_time{60000};   // for all of the body
  std::chrono::milliseconds write_time{30000};  // for one write: a client must take some of the answer in it
  std::chrono::milliseconds keep_alive{5000};   // between two requests of a connection
  std::size_t max_keep_alive = 100;             // requests of a connection
  std::string tls_certificate{}, tls_key{};     // PEM files; both or none
};

// Thread-safe, save for its destructor. Serves from threads of its own, which call the handler, several at a time.
class Server {
 public:
  // Listens; the handler must outlive the server. Errors: those of Listener::open and of
  // TlsContext::open.
  static Result<std::unique_ptr<Server>> start(const ServerOptions& options, Handler& handler);
  // On a port that was taken before.
  static Result<std::unique_ptr<Server>> start(const ServerOptions& options, Handler& handler, Listener listener);
  // Takes no more connections; requests under way are answered first.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  int port() const;

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace cairn::http
