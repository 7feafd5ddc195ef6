// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/http/connection.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace cairn {
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

}  // namespace cairn
