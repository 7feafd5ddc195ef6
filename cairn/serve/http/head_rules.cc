// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/http/head_rules.h"

#include <algorithm>
#include <cctype>
#include <charconv>

namespace cairn {
namespace {

constexpr std::size_t kLongestPath = 512;  // ours are short; the library matches paths with a recursive regex

}  // namespace

std::string_view path_of_target(std::string_view target) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!target.starts_with(scheme)) continue;
    const std::size_t path = target.find('/', scheme.size());
    return path == std::string_view::npos ? "/" : target.substr(path);
  }
  return target;
}

bool has_odd_line(std::string_view head) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  for (std::size_t at = head.find('\n'); at != std::string_view::npos;) {
    const std::string_view rest = head.substr(at + 1);
    const std::size_t end = std::min(rest.find_first_of("\r\n"), rest.size());
    const std::string_view name = rest.substr(0, std::min(rest.find(':'), end));
    if (end == 0) return false;  // the empty line
    const auto proper = [&](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || kMarks.contains(c); };
    if (name.empty() || name.size() == end || !std::ranges::all_of(name, proper)) return true;
    at = head.find('\n', at + 1);
  }
  return false;
}

std::optional<HeadRefusal> refuse_head(const HttpRequest& request, std::size_t most_body_bytes) {
  if (request.path.size() > kLongestPath) return HeadRefusal{414, "the path is too long"};
  for (const char* once : {"Host", "Origin", "Authorization", "Content-Type", "Transfer-Encoding"}) {
    if (request.headers.count(once) > 1) return HeadRefusal{400, std::string(once) + " is given twice"};
  }
  const bool chunked = request.headers.contains("Transfer-Encoding");
  if (chunked &&
      !std::ranges::equal(request.header("Transfer-Encoding"), std::string_view("chunked"), {}, NoCase::lower)) {
    return HeadRefusal{501, "of transfer encodings only 'chunked' is taken"};
  }
  const auto lengths = request.headers.count("Content-Length");
  if (lengths > 1 || (lengths == 1 && chunked)) return HeadRefusal{400, "the length of the body is given twice"};
  std::size_t length = 0;
  if (lengths == 1) {
    const std::string text = request.header("Content-Length");
    const auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), length);
    if (end != text.data() + text.size() || text.empty()) return HeadRefusal{400, "Content-Length is not a number"};
    if (wrong != std::errc() || length > most_body_bytes) {
      return HeadRefusal{413, "the body has more than " + std::to_string(most_body_bytes) + " bytes"};
    }
  }
  if (request.method == "POST") {
    if (lengths == 0 && !chunked) return HeadRefusal{411, "POST needs a Content-Length"};
    if (request.headers.contains("Content-Encoding")) return HeadRefusal{415, "compressed bodies are not taken"};
    if (request.header("Content-Type").starts_with("multipart/")) return HeadRefusal{415, "the body must be JSON"};
  } else if (chunked || length > 0) {
    return HeadRefusal{400, request.method + " takes no body"};
  }
  return std::nullopt;
}

}  // namespace cairn
