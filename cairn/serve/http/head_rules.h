// SPDX-License-Identifier: Apache-2.0
// What a request's head may say, beyond what the HTTP library sees to. Thread-safe: functions of their arguments.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "cairn/serve/http/http_message.h"

namespace cairn {

struct HeadRefusal {
  int status;
  std::string why;
};

// What no line of HTTP may hold: a control character other than a tab.
bool is_control(char c);

// The path, not decoded, without the query; also of the absolute form, which proxies send and every server must take
// (RFC 9112, 3.2.2). `target` is as it came: an encoded colon or slash parts nothing.
std::string_view path_of_target(std::string_view target);

// A target that is too long, whatever stands in front of its path.
std::optional<HeadRefusal> refuse_target(std::string_view target);

// Lines without a proper name, folded ones, line ends that are half ones, a request line with more than its three
// parts: whoever reads them another way than we do sees another request. `head` is as it came, the request line first.
std::optional<HeadRefusal> refuse_lines(std::string_view head);

// Of what the head says about the body and about itself.
std::optional<HeadRefusal> refuse_head(const HttpRequest& request, std::size_t max_body_bytes);

}  // namespace cairn
