// SPDX-License-Identifier: Apache-2.0
// Sockets on which nothing takes longer than the caller allows, plain or with TLS; the socket that accepts clients; and
// the threads that serve them.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cairn/base/clock.h"
#include "cairn/base/result.h"

namespace cairn::http {

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

// One client. Reading, writing and the TLS handshake have deadlines. Thread-compatible.
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
  // Ends our side and drops what still comes for a moment: unread bytes would turn the close into a reset,
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

// The server's certificate; puts TLS on connections. Thread-safe.
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

// The socket on which clients arrive. Thread-safe.
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

struct Arrival {
  Descriptor socket;
  std::string peer;
};

// Threads that serve connections, and a bounded queue of connections that wait for a thread: a flood is refused instead
// of being stored. Thread-safe.
class ConnectionPool {
 public:
  // An exception from `serve` ends its connection alone.
  ConnectionPool(std::size_t threads, std::size_t max_waiting, std::function<void(Arrival)> serve);
  ~ConnectionPool();  // waits for the connections that are being served; drops those that wait

  // False, and `arrival` stays, when the queue is full.
  bool push(Arrival& arrival);
  // A connection waits for a thread: idle connections should close.
  bool crowded() const;

 private:
  void work();

  const std::size_t max_waiting_;
  const std::function<void(Arrival)> serve_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Arrival> waiting_;  // guarded by mutex_
  bool stop_ = false;            // guarded by mutex_
  std::vector<std::jthread> threads_;
};

}  // namespace cairn::http
