// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/redis/redis_connect.h"

#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <cctype>

namespace cairn {
namespace {

timeval time_left(Deadline deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::microseconds>(deadline - std::chrono::steady_clock::now());
  // hiredis takes no time at all for no limit.
  const std::int64_t us = std::clamp<std::int64_t>(left.count(), 1000, std::int64_t{3600} * 1'000'000);
  return {.tv_sec = us / 1'000'000, .tv_usec = us % 1'000'000};
}

Result<int> open_socket(const RedisAddress& address, Deadline deadline) {
  redisContext* const context = address.socket.empty()
                                    ? redisConnectWithTimeout(address.host.c_str(), address.port, time_left(deadline))
                                    : redisConnectUnixWithTimeout(address.socket.c_str(), time_left(deadline));
  if (context == nullptr) return fail(ErrorCode::kIo, address.text() + ": no memory for a connection");
  if (context->err != 0) {
    const std::string reason = context->errstr;
    redisFree(context);
    return fail(ErrorCode::kIo, address.text() + ": " + reason);
  }
  const int fd = redisFreeKeepFd(context);
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags >= 0) (void)::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
  (void)::fcntl(fd, F_SETFD, FD_CLOEXEC);
  const int on = 1;
  if (address.socket.empty()) (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

// Requires: the command expects a plain +OK.
Status ask(RedisLink& link, const RedisAddress& address, std::initializer_list<std::string_view> words,
           std::string_view refused, Deadline deadline) {
  link.command(words);
  const auto reply = link.receive(deadline);
  if (!reply) {
    return fail(ErrorCode::kIo,
                address.text() + (link.fault() == LinkFault::kGarbage  ? ": it is no Redis server"
                                  : link.fault() == LinkFault::kClosed ? ": it closed the connection"
                                                                       : ": it does not answer in time"));
  }
  if (!reply->is(RedisReply::Kind::kError)) return {};
  const std::string word = redis_error_word(reply->text);
  // The server is there and will be ready; what it says while it loads is no refusal.
  if (word == "LOADING") return fail(ErrorCode::kIo, address.text() + ": it is still loading its data");
  return fail(ErrorCode::kInvalidArgument, address.text() + ": " + std::string(refused) + " (" + word + ")");
}

}  // namespace

std::string redis_error_word(std::string_view error) {
  std::string word;
  for (const char c : error.substr(0, error.find(' ')).substr(0, 24)) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) word += c;
  }
  return word.empty() ? "no reason given" : word;
}

Result<std::unique_ptr<RedisLink>> redis_connect(const RedisAddress& address, const RedisLogin& login,
                                                 std::chrono::milliseconds silence, Deadline deadline) {
  CAIRN_TRY(const int fd, open_socket(address, deadline));
  auto link = std::make_unique<RedisLink>(fd, silence);
  constexpr std::string_view kWrong = "it refuses the user or password";
  if (!login.user.empty()) {
    CAIRN_TRY_VOID(ask(*link, address, {"AUTH", login.user, login.password}, kWrong, deadline));
  } else if (!login.password.empty()) {
    CAIRN_TRY_VOID(ask(*link, address, {"AUTH", login.password}, kWrong, deadline));
  }
  if (login.database != 0) {
    CAIRN_TRY_VOID(ask(*link, address, {"SELECT", std::to_string(login.database)},
                       "it refuses database " + std::to_string(login.database), deadline));
  }
  return link;
}

}  // namespace cairn
