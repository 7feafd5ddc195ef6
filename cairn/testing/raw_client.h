// SPDX-License-Identifier: Apache-2.0
// Test support: an HTTP client that may misbehave, byte by byte.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "cairn/base/check.h"
#include "cairn/base/clock.h"

namespace cairn {

class RawClient {
 public:
  explicit RawClient(int port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CAIRN_CHECK(::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
  }
  ~RawClient() { close(); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  // False when the server has closed.
  bool send(std::string_view bytes) const {
    return ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
  }
  void end() const { ::shutdown(fd_, SHUT_WR); }  // nothing more will be sent
  // What comes until `mark`, the end of the connection or the deadline.
  std::string receive_until(std::string_view mark, Deadline deadline) const {
    std::string got;
    char bytes[4096];
    while (mark.empty() || got.find(mark) == std::string::npos) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
      pollfd wait{.fd = fd_, .events = POLLIN, .revents = 0};
      if (left.count() <= 0 || ::poll(&wait, 1, static_cast<int>(left.count())) <= 0) break;
      const ssize_t size = ::recv(fd_, bytes, sizeof bytes, 0);
      if (size <= 0) break;
      got.append(bytes, static_cast<std::size_t>(size));
    }
    return got;
  }
  // Until the server closes.
  std::string receive_all(Deadline deadline) const { return receive_until("", deadline); }

 private:
  int fd_;
};

}  // namespace cairn
