// SPDX-License-Identifier: Apache-2.0
// Where a Redis tier is: redis://[user[:password]@]host[:port][/db] or unix:///path/to.sock, and
// ?ttl=SECONDS&cluster=1.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "cairn/base/result.h"

namespace cairn {

// A server's place: a host and a port, or a socket's path.
struct RedisAddress {
  std::string host;
  std::uint16_t port = 6379;
  std::string socket;  // not empty: the others mean nothing

  bool operator==(const RedisAddress&) const = default;
  auto operator<=>(const RedisAddress&) const = default;
  std::string text() const;  // "redis://host:6379", "unix:///path/to.sock"
};

struct RedisLogin {
  std::string user, password;  // empty: none
  std::uint32_t database = 0;
};

struct RedisUrl {
  RedisAddress address;
  RedisLogin login;
  std::optional<std::int64_t> ttl_s;
  bool cluster = false;
};

// User and password may hold %XX. A unix:// URL takes its database from ?db=N. kInvalidArgument with one line that
// never shows the password; kUnsupported for rediss://.
Result<RedisUrl> parse_redis_url(std::string_view url);

// "host:port" or "[v6]:port" as servers name each other; nothing where it is neither. The host may be empty.
std::optional<RedisAddress> parse_redis_endpoint(std::string_view text);

}  // namespace cairn
