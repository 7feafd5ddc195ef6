// SPDX-License-Identifier: Apache-2.0
// Which web pages may talk to this server: a page that a browser has open must not reach it behind its owner's back.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cairn/serve/http/http_message.h"

namespace cairn {

struct OriginRules {
  bool loopback = true;              // only this machine reaches the server, so that its Host must name this machine
  std::vector<std::string> hosts;    // further names that a Host header may have
  std::vector<std::string> origins;  // pages that may call; "*" for all
};

// "name", "name:8080", "[::1]:8080": the name, in lower case, without brackets; empty for other texts.
std::string host_name(std::string_view header);

// Against DNS rebinding: a page's own domain may be made to resolve to 127.0.0.1, but its Host header gives it away.
bool host_allowed(const HttpRequest& request, const OriginRules& rules);

// No Origin header, one that names this server itself, or one of the rules.
bool origin_allowed(const HttpRequest& request, const OriginRules& rules);

// The headers by which a browser lets the page read the reply; none where CORS is off for this origin.
void add_cors_headers(const HttpRequest& request, const OriginRules& rules, HttpReply& reply);

}  // namespace cairn
