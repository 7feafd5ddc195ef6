// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/api/origin.h"

#include <algorithm>
#include <cctype>

#include "cairn/serve/http/listener.h"

namespace cairn {
namespace {

bool in_rules(const std::string& origin, const OriginRules& rules) {
  return std::ranges::any_of(rules.origins, [&](const std::string& one) { return one == "*" || one == origin; });
}

}  // namespace

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
  std::ranges::transform(lower, lower.begin(), NoCase::lower);
  if (lower.ends_with('.')) lower.pop_back();
  return lower;
}

bool host_allowed(const HttpRequest& request, const OriginRules& rules) {
  if (!rules.loopback) return true;
  if (request.headers.count("Host") != 1) return false;
  const std::string name = host_name(request.header("Host"));
  if (name.empty()) return false;
  return is_loopback(name) ||
         std::ranges::any_of(rules.hosts, [&](const std::string& host) { return host_name(host) == name; });
}

bool origin_allowed(const HttpRequest& request, const OriginRules& rules) {
  const std::string origin = request.header("Origin");
  if (origin.empty() || in_rules(origin, rules)) return true;
  const std::string host = request.header("Host");
  return origin == "http://" + host || origin == "https://" + host;
}

void add_cors_headers(const HttpRequest& request, const OriginRules& rules, HttpReply& reply) {
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

}  // namespace cairn
