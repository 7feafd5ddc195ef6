// SPDX-License-Identifier: Apache-2.0
// A socket on which nothing takes longer than the caller allows: reading, writing and the TLS handshake have deadlines.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

#include "cairn/base/clock.h"

namespace cairn {

// Closes what it owns.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

// Thread-compatible.
class Connection {
 public:
  // Takes a connected socket and makes it non-blocking.
  explicit Connection(Descriptor socket);
  virtual ~Connection() = default;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Bytes read, 0 at the end, -1 when the socket fails or the deadline comes first.
  std::ptrdiff_t read(char* to, std::size_t size, Deadline deadline);
  // All of it, or false.
  bool write(const char* from, std::size_t size, Deadline deadline);
  // Whether something can be read, or the client has closed, before the deadline.
  bool wait_readable(Deadline deadline) const;
  // The client has closed its side, or the connection broke.
  bool gone() const;
  // Ends our side and drops what still comes for a moment: bytes that nobody read would turn the close into a reset,
  // which may reach the client before the reply does.
  virtual void finish(Deadline deadline);

 protected:
  enum class Step { kDone, kEnd, kFailed, kWantRead, kWantWrite };
  struct Moved {
    Step step = Step::kFailed;
    std::size_t bytes = 0;
  };
  virtual Moved read_some(char* to, std::size_t size);
  virtual Moved write_some(const char* from, std::size_t size);
  virtual bool has_buffered() const { return false; }
  int socket() const { return socket_.get(); }
  bool wait_for(Step step, Deadline deadline) const;

 private:
  Descriptor socket_;
};

}  // namespace cairn
