// SPDX-License-Identifier: Apache-2.0
#include "cairn/load/http_client.h"

#include <httplib.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

namespace cairn::load {
namespace {

constexpr std::size_t kMaxUnseen = std::size_t{64} << 10;

// Bytes read since something was last handed on. Used by the thread of one exchange.
class UnseenBytes {
 public:
  void handed_on() { bytes_ = 0; }
  // False: too many.
  bool read(std::size_t bytes) { return (bytes_ += bytes) <= kMaxUnseen; }
  bool too_many() const { return bytes_ > kMaxUnseen; }

 private:
  std::size_t bytes_ = 0;
};

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

// The library's client, which has no bound on what it keeps of a reply without handing it on (the head, the lines of
// chunks), with one. `unseen` outlives it.
template <class Base>
class BoundedClient final : public Base {
 public:
  BoundedClient(const Target& target, UnseenBytes& unseen) : Base(target.host, target.port), unseen_(unseen) {}

 private:
  bool process_socket(const typename Base::Socket& socket, std::function<bool(httplib::Stream&)> use) override {
    BoundedStream stream(socket.sock, socket.ssl, unseen_);
    return use(stream);
  }

  UnseenBytes& unseen_;
};

std::unique_ptr<httplib::ClientImpl> bounded_client(const Target& target, UnseenBytes& unseen) {
  if (target.tls) return std::make_unique<BoundedClient<httplib::SSLClient>>(target, unseen);
  return std::make_unique<BoundedClient<httplib::ClientImpl>>(target, unseen);
}

constexpr std::chrono::milliseconds kConnectTimeout(10000);

HttpOutcome outcome_of(httplib::Error error) {
  switch (error) {
    case httplib::Error::Success: return HttpOutcome::kAnswered;
    case httplib::Error::Connection:
    case httplib::Error::BindIPAddress:
    case httplib::Error::SSLConnection:
    case httplib::Error::SSLLoadingCerts:
    case httplib::Error::SSLServerVerification: return HttpOutcome::kRefused;
    case httplib::Error::ConnectionTimeout: return HttpOutcome::kTimeout;
    default: return HttpOutcome::kClosed;
  }
}

std::string reason_of(HttpOutcome outcome, httplib::Error error) {
  switch (outcome) {
    case HttpOutcome::kAnswered: return "";
    case HttpOutcome::kRefused:
      return error == httplib::Error::Connection ? "no connection"
                                                 : "no TLS connection (" + httplib::to_string(error) + ")";
    case HttpOutcome::kTimeout: return "timed out";
    case HttpOutcome::kClosed: return "the connection was closed early";
    case HttpOutcome::kTooLong: return answer_too_long();
    case HttpOutcome::kStopped: return "stopped";
  }
  return "";
}

constexpr auto kWatchTick = std::chrono::milliseconds(20);

}  // namespace

std::string answer_too_long() {
  return "the answer is longer than " + std::to_string(kMaxBody) + " bytes";
}

HttpAnswer HttpClient::get(const std::string& path, std::chrono::milliseconds timeout) const {
  return exchange("GET", path, {}, timeout, nullptr);
}

HttpAnswer HttpClient::post(const std::string& path, std::string body, std::chrono::milliseconds timeout) const {
  return exchange("POST", path, std::move(body), timeout, nullptr);
}

HttpAnswer HttpClient::stream(const std::string& path, std::string body, std::chrono::milliseconds timeout,
                              const OnBytes& on_bytes) const {
  return exchange("POST", path, std::move(body), timeout, &on_bytes);
}

HttpAnswer HttpClient::exchange(const char* method, const std::string& path, std::string body,
                                std::chrono::milliseconds timeout, const OnBytes* on_bytes) const {
  const Deadline deadline = deadline_in(timeout);
  UnseenBytes unseen;
  const std::unique_ptr<httplib::ClientImpl> client = bounded_client(target_, unseen);
  client->set_connection_timeout(std::min(timeout, kConnectTimeout));
  client->set_read_timeout(timeout + std::chrono::seconds(1));  // the watch comes first
  client->set_write_timeout(timeout + std::chrono::seconds(1));
  client->set_tcp_nodelay(true);
  client->set_keep_alive(false);
  if (!target_.authorities.empty()) client->set_ca_cert_path(target_.authorities);

  httplib::Request request;
  request.method = method;
  request.path = target_.path + path;
  if (!target_.key.empty()) request.headers.emplace("Authorization", "Bearer " + target_.key);
  if (!body.empty()) request.headers.emplace("Content-Type", "application/json");
  request.headers.emplace("Accept-Encoding", "identity");  // a stream must not wait for a compressor
  request.body = std::move(body);

  HttpAnswer answer;
  bool enough = false, too_long = false;
  request.response_handler = [&](const httplib::Response& response) {
    unseen.handed_on();
    answer.status = response.status;
    return true;
  };
  request.content_receiver = [&](const char* data, std::size_t size, std::uint64_t, std::uint64_t) {
    unseen.handed_on();
    if (on_bytes != nullptr && answer.status == 200) {
      enough = !(*on_bytes)({data, size});
    } else {
      answer.body.append(data, size);
      too_long = answer.body.size() > kMaxBody;
    }
    return !enough && !too_long;
  };

  httplib::Response response;
  httplib::Error error = httplib::Error::Success;
  std::atomic<bool> cut = false;
  {
    const DeadlineWatch::Guard guard(watch_, deadline, [&client, &cut] {
      cut = true;  // to the library a body that ends with the connection is whole then
      client->stop();
    });
    if (client->send(request, response, error)) error = httplib::Error::Success;
  }
  const bool in_head = answer.status == 0;
  if (in_head) answer.status = response.status > 0 ? response.status : 0;
  answer.outcome = outcome_of(error);
  const bool whole = answer.outcome == HttpOutcome::kAnswered && !cut;
  if (too_long || unseen.too_many()) {
    answer.outcome = HttpOutcome::kTooLong;
  } else if (enough || (!whole && watch_.stopped())) {
    answer.outcome = HttpOutcome::kStopped;
  } else if (!whole && passed(deadline)) {
    answer.outcome = HttpOutcome::kTimeout;
  }
  answer.reason = reason_of(answer.outcome, error);
  if (unseen.too_many()) {
    answer.reason = "more than " + std::to_string(kMaxUnseen) + " bytes of " + (in_head ? "head" : "framing");
  }
  return answer;
}

DeadlineWatch::Guard::Guard(DeadlineWatch& watch, Deadline deadline, std::function<void()> stop) : watch_(watch) {
  const std::lock_guard lock(watch.mutex_);
  number_ = watch.next_++;
  watch.entries_.emplace(number_, Entry{deadline, std::move(stop)});
  watch.changed_.notify_one();
}

DeadlineWatch::Guard::~Guard() {
  const std::lock_guard lock(watch_.mutex_);
  watch_.entries_.erase(number_);
}

void DeadlineWatch::stop_all() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
}

bool DeadlineWatch::stopped() const {
  const std::lock_guard lock(mutex_);
  return stopped_;
}

void DeadlineWatch::run(const std::stop_token& token) {
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, token, [this] { return !entries_.empty(); })) {
    const Deadline now = std::chrono::steady_clock::now();
    for (const auto& [number, entry] : entries_) {
      if (stopped_ || entry.deadline <= now) entry.stop();
    }
    changed_.wait_for(lock, token, kWatchTick, [] { return false; });
  }
}

}  // namespace cairn::load
