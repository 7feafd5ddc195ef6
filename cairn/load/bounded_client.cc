// SPDX-License-Identifier: Apache-2.0
#include "cairn/load/bounded_client.h"

#include <httplib.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace cairn {
namespace {

// The socket blocks, as the library leaves it, for at most the client's timeouts.
class BoundedStream final : public httplib::Stream {
 public:
  BoundedStream(int socket, SSL* tls, UnseenBytes& unseen) : socket_(socket), tls_(tls), unseen_(unseen) {}

  bool is_readable() const override { return true; }
  bool is_writable() const override { return true; }
  void get_remote_ip_and_port(std::string& /*ip*/, int& /*port*/) const override {}
  void get_local_ip_and_port(std::string& /*ip*/, int& /*port*/) const override {}
  socket_t socket() const override { return socket_; }

  // The library reads heads byte by byte.
  ssize_t read(char* to, std::size_t size) override {
    if (first_ == end_) {
      const ssize_t got = receive();
      if (got <= 0) return got;
      first_ = 0;
      end_ = static_cast<std::size_t>(got);
    }
    const std::size_t count = std::min(size, end_ - first_);
    if (!unseen_.read(count)) return -1;
    std::memcpy(to, buffer_.data() + first_, count);
    first_ += count;
    return static_cast<ssize_t>(count);
  }

  ssize_t write(const char* from, std::size_t size) override {
    const auto most = static_cast<int>(std::min<std::size_t>(size, 1 << 30));
    if (tls_ != nullptr) return SSL_write(tls_, from, most);
    for (;;) {
      const ssize_t sent = ::send(socket_, from, static_cast<std::size_t>(most), MSG_NOSIGNAL);
      if (sent >= 0 || errno != EINTR) return sent;
    }
  }

 private:
  ssize_t receive() {
    if (tls_ != nullptr) return SSL_read(tls_, buffer_.data(), static_cast<int>(buffer_.size()));
    for (;;) {
      const ssize_t got = ::recv(socket_, buffer_.data(), buffer_.size(), 0);
      if (got >= 0 || errno != EINTR) return got;
    }
  }

  int socket_;
  SSL* tls_;
  UnseenBytes& unseen_;
  std::array<char, 16384> buffer_;
  std::size_t first_ = 0, end_ = 0;
};

template <class Base>
class BoundedClient final : public Base {
 public:
  BoundedClient(const LoadTarget& target, UnseenBytes& unseen) : Base(target.host, target.port), unseen_(unseen) {}

 private:
  bool process_socket(const typename Base::Socket& socket, std::function<bool(httplib::Stream&)> use) override {
    BoundedStream stream(socket.sock, socket.ssl, unseen_);
    return use(stream);
  }

  UnseenBytes& unseen_;
};

}  // namespace

std::unique_ptr<httplib::ClientImpl> bounded_client(const LoadTarget& target, UnseenBytes& unseen) {
  if (target.tls) return std::make_unique<BoundedClient<httplib::SSLClient>>(target, unseen);
  return std::make_unique<BoundedClient<httplib::ClientImpl>>(target, unseen);
}

}  // namespace cairn
