// SPDX-License-Identifier: Apache-2.0
// The socket on which clients arrive.
#pragma once

#include <string>

#include "cairn/base/result.h"
#include "cairn/serve/http/connection.h"

namespace cairn {

// Thread-safe.
class Listener {
 public:
  // Takes the port, and refuses clients until listen(). `host` is a name or an address; port 0 takes any that is free.
  // Errors: kInvalidArgument (no such host), kIo.
  static Result<Listener> open(const std::string& host, int port);
  Status listen() const;  // errors: kIo

  int port() const { return port_; }
  int socket() const { return socket_.get(); }
  // A client that came before the deadline, and where from; a closed descriptor without one.
  Descriptor accept(Deadline deadline, std::string& peer) const;

 private:
  Listener(Descriptor socket, int port) : socket_(std::move(socket)), port_(port) {}
  Descriptor socket_;
  int port_ = 0;
};

// Whether a host means this machine alone: localhost, 127.x.x.x, ::1.
bool is_loopback(const std::string& host);

}  // namespace cairn
