// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/http/listener.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

namespace cairn {
namespace {

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

}  // namespace cairn
