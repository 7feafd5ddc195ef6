// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/http/connection.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <memory>

namespace cairn::http {
namespace {

// The events that came before the deadline; 0: none.
short poll_until(int fd, short events, Deadline deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    pollfd wait{.fd = fd, .events = events, .revents = 0};
    const int found = ::poll(&wait, 1, static_cast<int>(std::clamp<long long>(left, 0, 1 << 30)));
    if (found > 0) return wait.revents;
    if (found == 0 || errno != EINTR) return 0;
  }
}

constexpr int kBacklog = 256;

std::string address_text(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET) {
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(address).sin_addr, text, sizeof text);
  } else if (address.ss_family == AF_INET6) {
    ::inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr, text, sizeof text);
  }
  return text;
}

int bound_port(int fd) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                                             : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

}  // namespace

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

Connection::Connection(Descriptor socket) : socket_(std::move(socket)) {
  ::fcntl(socket_.get(), F_SETFL, ::fcntl(socket_.get(), F_GETFL) | O_NONBLOCK);
  const int on = 1;  // pieces of an answer are small, and each should leave at once
  ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

std::ptrdiff_t Connection::read(char* to, std::size_t size, Deadline deadline) {
  for (;;) {
    const Moved moved = read_some(to, size);
    if (moved.step == Step::kDone) return static_cast<std::ptrdiff_t>(moved.bytes);
    if (moved.step == Step::kEnd) return 0;
    if (moved.step == Step::kFailed || !wait_for(moved.step, deadline)) return -1;
  }
}

bool Connection::write(const char* from, std::size_t size, Deadline deadline) {
  while (size > 0) {
    const Moved moved = write_some(from, size);
    if (moved.step == Step::kDone) {
      from += moved.bytes;
      size -= moved.bytes;
    } else if (moved.step == Step::kEnd || moved.step == Step::kFailed || !wait_for(moved.step, deadline)) {
      return false;
    }
  }
  return true;
}

bool Connection::wait_readable(Deadline deadline) const {
  return has_buffered() || poll_until(socket(), POLLIN, deadline) != 0;
}

bool Connection::gone() const {
  return (poll_until(socket(), POLLRDHUP, Deadline{}) & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) != 0;
}

void Connection::finish(Deadline deadline) {
  ::shutdown(socket(), SHUT_WR);
  char dropped[4096];
  for (int reads = 0; reads < 256; ++reads) {
    const ssize_t got = ::recv(socket(), dropped, sizeof dropped, 0);
    if (got == 0) return;
    if (got < 0 && (errno != EAGAIN || !wait_for(Step::kWantRead, deadline))) return;
  }
}

Connection::Moved Connection::read_some(char* to, std::size_t size) {
  const ssize_t got = ::recv(socket(), to, size, 0);
  if (got > 0) return {Step::kDone, static_cast<std::size_t>(got)};
  if (got == 0) return {Step::kEnd, 0};
  return {errno == EAGAIN || errno == EINTR ? Step::kWantRead : Step::kFailed, 0};
}

Connection::Moved Connection::write_some(const char* from, std::size_t size) {
  const ssize_t sent = ::send(socket(), from, size, MSG_NOSIGNAL);
  if (sent >= 0) return {Step::kDone, static_cast<std::size_t>(sent)};
  return {errno == EAGAIN || errno == EINTR ? Step::kWantWrite : Step::kFailed, 0};
}

bool Connection::wait_for(Step step, Deadline deadline) const {
  return poll_until(socket(), step == Step::kWantRead ? POLLIN : POLLOUT, deadline) != 0;
}

Result<Listener> Listener::open(const std::string& host, int port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  if (const int wrong = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found); wrong != 0) {
    return fail(ErrorCode::kInvalidArgument, "cannot listen on '" + host + "': " + ::gai_strerror(wrong));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses(found, &::freeaddrinfo);
  int error = 0;
  for (const addrinfo* address = found; address != nullptr; address = address->ai_next) {
    Descriptor fd(::socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const int on = 1;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd.get() >= 0 && ::bind(fd.get(), address->ai_addr, address->ai_addrlen) == 0) {
      const int bound = bound_port(fd.get());
      return Listener(std::move(fd), bound);
    }
    error = errno;
  }
  return fail(ErrorCode::kIo, "cannot listen on " + host + ":" + std::to_string(port) + ": " + std::strerror(error));
}

Status Listener::listen() const {
  if (::listen(socket_.get(), kBacklog) == 0) return {};
  return fail(ErrorCode::kIo, "cannot listen on port " + std::to_string(port_) + ": " + std::strerror(errno));
}

Descriptor Listener::accept(Deadline deadline, std::string& peer) const {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
  pollfd wait{.fd = socket_.get(), .events = POLLIN, .revents = 0};
  if (::poll(&wait, 1, static_cast<int>(std::clamp<long long>(left, 0, 1 << 30))) <= 0) return Descriptor();
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  Descriptor client(::accept4(socket_.get(), reinterpret_cast<sockaddr*>(&address), &length, SOCK_CLOEXEC));
  // The client stays in the queue, so poll() would say the same at once: another connection must end first.
  const bool exhausted =
      client.get() < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS);
  if (exhausted) ::poll(nullptr, 0, 20);
  peer = address_text(address);
  return client;
}

bool is_loopback(const std::string& host) {
  in_addr v4{};
  in6_addr v6{};
  if (::inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  if (::inet_pton(AF_INET6, host.c_str(), &v6) == 1) return IN6_IS_ADDR_LOOPBACK(&v6);
  return host == "localhost";
}

ConnectionPool::ConnectionPool(std::size_t threads, std::size_t max_waiting, std::function<void(Arrival)> serve)
    : max_waiting_(max_waiting), serve_(std::move(serve)) {
  for (std::size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

ConnectionPool::~ConnectionPool() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  threads_.clear();
}

bool ConnectionPool::push(Arrival& arrival) {
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.size() >= max_waiting_) return false;
    waiting_.push_back(std::move(arrival));
  }
  changed_.notify_one();
  return true;
}

bool ConnectionPool::crowded() const {
  const std::lock_guard lock(mutex_);
  return !waiting_.empty();
}

void ConnectionPool::work() {
  for (;;) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return stop_ || !waiting_.empty(); });
    if (stop_) return;
    Arrival arrival = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    try {
      serve_(std::move(arrival));
    } catch (const std::exception&) {
      // Out of memory, most likely: others go on.
    }
  }
}

}  // namespace cairn::http
