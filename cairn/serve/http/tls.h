// SPDX-License-Identifier: Apache-2.0
// TLS on a connection, with the certificate of the server.
#pragma once

#include <memory>
#include <string>

#include "cairn/base/result.h"
#include "cairn/serve/http/connection.h"

namespace cairn {

// Thread-safe.
class TlsContext {
 public:
  // PEM files; the certificate may be a chain. Errors: kInvalidArgument, naming the file.
  static Result<std::unique_ptr<TlsContext>> open(const std::string& certificate, const std::string& key);
  ~TlsContext();

  // Null when the handshake fails or the deadline comes first.
  std::unique_ptr<Connection> accept(Descriptor socket, Deadline deadline);

 private:
  struct Impl;
  explicit TlsContext(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace cairn
