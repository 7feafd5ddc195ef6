// SPDX-License-Identifier: Apache-2.0
// Who may call: API keys, each of which belongs to a tenant, and the web pages that a browser may let in.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/hash.h"
#include "cairn/base/result.h"
#include "cairn/serve/http/message.h"

namespace cairn::api {

// As a line of the file gives them; 0: what the server gives to all.
struct KeyLimits {
  std::size_t max_running = 0, max_waiting = 0, kv_bytes = 0;
  bool operator==(const KeyLimits&) const = default;
};

// Domain "cairn.api-key.v1". Keys are long random texts, so a fast hash is enough.
Digest hash_api_key(std::string_view key);

// API keys, kept as hashes. Immutable and thread-safe.
class Keys {
 public:
  // Lines of "TENANT HASH [running=N] [waiting=N] [kv=SIZE]"; '#' begins a comment. Several keys may belong to a
  // tenant, whose limits stand on any of its lines. Errors: kInvalidArgument, naming the line; a file without a key is
  // one.
  static Result<Keys> parse(std::string_view text, const std::string& name);
  // Errors: those of read_file and parse.
  static Result<Keys> read(const std::string& path);

  // The tenant of a key. The time depends on the number of keys alone.
  std::optional<std::string> tenant_of(std::string_view key) const;
  const std::map<std::string, KeyLimits>& tenants() const { return tenants_; }

 private:
  struct Entry {
    Digest hash;
    std::string tenant;
  };
  std::vector<Entry> entries_;
  std::map<std::string, KeyLimits> tenants_;
};

// Which web pages may call this server: without rules any page that a browser has open could use it unnoticed.
struct OriginRules {
  bool loopback = true;              // only this machine reaches the server, so that its Host must name this machine
  std::vector<std::string> hosts;    // further names that a Host header may have
  std::vector<std::string> origins;  // pages that may call; "*" for all
};

// "name", "name:8080", "[::1]:8080": the name, in lower case, without brackets; empty for other texts.
std::string host_name(std::string_view header);

// Against DNS rebinding: a page's own domain may be made to resolve to 127.0.0.1, but its Host header gives it away.
bool host_allowed(const http::Request& request, const OriginRules& rules);

// No Origin header, one that names this server itself, or one of the rules.
bool origin_allowed(const http::Request& request, const OriginRules& rules);

// The headers by which a browser lets the page read the reply; none where CORS is off for this origin.
void add_cors_headers(const http::Request& request, const OriginRules& rules, http::Reply& reply);

}  // namespace cairn::api
