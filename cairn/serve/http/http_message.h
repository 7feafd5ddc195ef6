// SPDX-License-Identifier: Apache-2.0
// A request and its reply as the API sees them, free of the HTTP library.
#pragma once

#include <algorithm>
#include <cctype>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn {

struct NoCase {
  bool operator()(std::string_view a, std::string_view b) const {
    return std::ranges::lexicographical_compare(a, b, {}, lower, lower);
  }
  static int lower(char c) { return std::tolower(static_cast<unsigned char>(c)); }
};

struct HttpRequest {
  std::string method, path, body, peer;
  std::multimap<std::string, std::string, NoCase> headers;
  std::map<std::string, std::string> query;
  std::function<bool()> client_gone = [] { return false; };  // asks the connection; cheap

  // The first of that name; empty without one.
  std::string header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? std::string() : found->second;
  }
};

// Where a streamed reply goes.
class HttpSink {
 public:
  virtual ~HttpSink() = default;
  // False when the client did not take it in time, or is gone: nothing that follows will arrive either.
  virtual bool write(std::string_view bytes) = 0;
  virtual bool alive() const = 0;
};

struct HttpReply {
  int status = 200;
  std::string content_type = "application/json";
  std::string body{};
  std::vector<std::pair<std::string, std::string>> headers{};
  std::function<void(HttpSink&)> stream{};  // instead of a body; runs after the head was sent
};

// Called from many threads at a time.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  // Sees a request before its body is read; a reply refuses it.
  virtual std::optional<HttpReply> screen(const HttpRequest& request) = 0;
  virtual HttpReply handle(const HttpRequest& request) = 0;
  // What the server refuses by itself: a body too large, a request that does not come in time.
  virtual HttpReply refuse(const HttpRequest& request, int status, const std::string& why) = 0;
};

}  // namespace cairn
