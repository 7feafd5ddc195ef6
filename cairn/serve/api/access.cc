// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/api/access.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <ranges>

#include "cairn/base/file.h"
#include "cairn/base/utf8.h"
#include "cairn/serve/http/connection.h"
#include "cairn/store/store.h"

namespace cairn::api {
namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{16} << 20;
constexpr std::size_t kLongestTenant = 64;

// Tenants appear in logs, metrics and store keys.
bool is_tenant(std::string_view text) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  };
  return !text.empty() && text.size() <= kLongestTenant && std::ranges::all_of(text, plain);
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  line = line.substr(0, line.find('#'));
  for (std::size_t at = 0; (at = line.find_first_not_of(" \t\r", at)) != std::string_view::npos;) {
    const std::size_t end = std::min(line.find_first_of(" \t\r", at), line.size());
    words.push_back(line.substr(at, end - at));
    at = end;
  }
  return words;
}

// Limits of a tenant may stand on any of its lines, but not contradict each other.
bool agree(std::size_t& known, std::size_t value) {
  if (value == 0 || (known != 0 && known != value)) return false;
  known = value;
  return true;
}

// One "name=value" into the limits; false when it is none, or another value than before.
bool read_limit(std::string_view word, KeyLimits& limits) {
  const std::size_t equals = word.find('=');
  if (equals == std::string_view::npos) return false;
  const std::string_view name = word.substr(0, equals), value = word.substr(equals + 1);
  if (name == "kv") {
    const auto bytes = parse_bytes(std::string(value));
    return bytes && agree(limits.kv_bytes, *bytes);
  }
  if (name != "running" && name != "waiting") return false;
  std::size_t limit = 0;
  const auto [end, wrong] = std::from_chars(value.data(), value.data() + value.size(), limit);
  return wrong == std::errc() && end == value.data() + value.size() &&
         agree(name == "running" ? limits.max_running : limits.max_waiting, limit);
}

bool in_rules(const std::string& origin, const OriginRules& rules) {
  return std::ranges::any_of(rules.origins, [&](const std::string& one) { return one == "*" || one == origin; });
}

}  // namespace

Digest hash_api_key(std::string_view key) {
  return Hasher("cairn.api-key.v1").text(key).finish();
}

Result<Keys> Keys::parse(std::string_view text, const std::string& name) {
  Keys keys;
  std::size_t number = 0;
  for (const auto part : std::views::split(text, '\n')) {
    ++number;
    const std::vector<std::string_view> words = words_of({part.begin(), part.end()});
    if (words.empty()) continue;
    const auto wrong = [&](const std::string& what) {
      return fail(ErrorCode::kInvalidArgument, name + ":" + std::to_string(number) + ": " + what);
    };
    // The words are not quoted: a key that somebody wrote here by mistake must not end up in a log.
    if (!is_tenant(words[0])) return wrong("a tenant is made of letters, digits, '-', '_' and '.', at most 64");
    const auto hash = words.size() < 2 ? std::nullopt : parse_digest(words[1]);
    if (!hash) return wrong("no hash of a key behind the tenant; 'cairn serve --hash-key' prints one");
    const std::string tenant(words[0]);
    KeyLimits& limits = keys.tenants_[tenant];
    for (const std::string_view word : words | std::views::drop(2)) {
      if (!read_limit(word, limits)) {
        return wrong("after the hash may come running=N, waiting=N and kv=SIZE, the same on all lines of a tenant");
      }
    }
    if (std::ranges::any_of(keys.entries_, [&](const Entry& entry) { return entry.hash == *hash; }))
      return wrong("this key is there already");
    keys.entries_.push_back({*hash, tenant});
  }
  if (keys.entries_.empty()) return fail(ErrorCode::kInvalidArgument, name + ": no key in it");
  return keys;
}

Result<Keys> Keys::read(const std::string& path) {
  CAIRN_TRY(const std::vector<std::byte> bytes, read_file(path, kMaxFileBytes));
  return parse({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
}

std::optional<std::string> Keys::tenant_of(std::string_view key) const {
  const Digest hash = hash_api_key(key);
  const Entry* found = nullptr;
  for (const Entry& entry : entries_) {
    if (same_in_constant_time(entry.hash, hash)) found = &entry;
  }
  return found == nullptr ? std::nullopt : std::optional(found->tenant);
}

std::string host_name(std::string_view header) {
  std::string_view name = header, port;
  if (header.starts_with('[')) {
    const std::size_t end = header.find(']');
    if (end == std::string_view::npos) return "";
    name = header.substr(1, end - 1);
    port = header.substr(end + 1);
  } else if (const std::size_t colon = header.find(':'); colon != std::string_view::npos) {
    name = header.substr(0, colon);
    port = header.substr(colon);
  }
  if (!port.empty() && (port.size() < 2 || port[0] != ':' ||
                        !std::ranges::all_of(port.substr(1), [](char c) { return c >= '0' && c <= '9'; }))) {
    return "";
  }
  std::string lower(name);
  std::ranges::transform(lower, lower.begin(), http::NoCase::lower);
  if (lower.ends_with('.')) lower.pop_back();
  return lower;
}

bool host_allowed(const http::Request& request, const OriginRules& rules) {
  if (!rules.loopback) return true;
  if (request.headers.count("Host") != 1) return false;
  const std::string name = host_name(request.header("Host"));
  if (name.empty()) return false;
  return http::is_loopback(name) ||
         std::ranges::any_of(rules.hosts, [&](const std::string& host) { return host_name(host) == name; });
}

bool origin_allowed(const http::Request& request, const OriginRules& rules) {
  const std::string origin = request.header("Origin");
  if (origin.empty() || in_rules(origin, rules)) return true;
  const std::string host = request.header("Host");
  return origin == "http://" + host || origin == "https://" + host;
}

void add_cors_headers(const http::Request& request, const OriginRules& rules, http::Reply& reply) {
  const std::string origin = request.header("Origin");
  if (origin.empty() || !in_rules(origin, rules)) return;
  reply.headers.emplace_back("Access-Control-Allow-Origin", origin);
  reply.headers.emplace_back("Vary", "Origin");
  reply.headers.emplace_back("Access-Control-Expose-Headers", "X-Request-Id, Retry-After");
  if (request.method != "OPTIONS") return;
  reply.headers.emplace_back("Access-Control-Allow-Methods", "GET, POST, OPTIONS");
  reply.headers.emplace_back("Access-Control-Allow-Headers", "Authorization, Content-Type, X-Request-Id");
  reply.headers.emplace_back("Access-Control-Max-Age", "600");
}

}  // namespace cairn::api
