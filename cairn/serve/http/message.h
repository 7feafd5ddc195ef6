// SPDX-License-Identifier: Apache-2.0
// A request and its reply as the API sees them, free of the HTTP library, and the rules by which a request must be
// written. Proxies in front of a server and the server itself must see the same requests: what two readers could read
// in two ways is refused.
#pragma once

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn::http {

struct NoCase {
  bool operator()(std::string_view a, std::string_view b) const {
    return std::ranges::lexicographical_compare(a, b, {}, lower, lower);
  }
  static int lower(char c) { return std::tolower(static_cast<unsigned char>(c)); }
};

struct Request {
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
class Sink {
 public:
  virtual ~Sink() = default;
  // False when the client did not take it in time, or is gone: nothing that follows will arrive either.
  virtual bool write(std::string_view bytes) = 0;
  virtual bool alive() const = 0;
};

struct Reply {
  int status = 200;
  std::string content_type = "application/json";
  std::string body{};
  std::vector<std::pair<std::string, std::string>> headers{};
  std::function<void(Sink&)> stream{};  // instead of a body; runs after the head was sent
};

// Called from many threads at a time.
class Handler {
 public:
  virtual ~Handler() = default;
  // Sees a request before its body is read; a reply refuses it.
  virtual std::optional<Reply> screen(const Request& request) = 0;
  virtual Reply handle(const Request& request) = 0;
  // What the server refuses by itself: a body too large, a request that does not come in time.
  virtual Reply refuse(const Request& request, int status, const std::string& why) = 0;
};

// What a request's head may say, beyond what the HTTP library checks. The functions are pure.
struct HeadRefusal {
  int status;
  std::string why;
};

// What no line of HTTP may hold: a control character other than a tab.
bool is_control(char c);

// The path, not decoded, without the query; also of the absolute form, which proxies send and every server must take
// (RFC 9112, 3.2.2). `target` is as it came: an encoded colon or slash parts nothing.
std::string_view path_of_target(std::string_view target);

HeadRefusal target_too_long();

// Refuses a target that is too long, with what stands in front of its path.
std::optional<HeadRefusal> refuse_target(std::string_view target);

// Refuses header lines without a proper name, folded lines, half line ends, and request lines of more than three parts.
// `head` is as it came, the request line first.
std::optional<HeadRefusal> refuse_lines(std::string_view head);

// Refuses headers given twice, unsupported encodings, and bodies that are too long or have no known length.
std::optional<HeadRefusal> refuse_head(const Request& request, std::size_t max_body_bytes);

// How a chunked body must be written (RFC 9112, 7.1), byte by byte. The HTTP library accepts sizes such as "0x5", "+5",
// " 5" and "-5", which a proxy may read in another way. Extensions of a chunk are accepted and ignored; trailers are
// refused. Thread-compatible.
class ChunkRules {
 public:
  // The next bytes as they come, cut anywhere, up to the end of the body and no further. False from the first byte on
  // that breaks a rule.
  bool take(std::string_view bytes);
  // Which rule; empty while none is broken.
  std::string_view why() const { return why_; }
  bool complete() const { return state_ == State::kEnd && why_.empty(); }

 private:
  // What comes next.
  enum class State : std::uint8_t { kSize, kExtension, kSizeLf, kData, kDataCr, kDataLf, kLastCr, kLastLf, kEnd };

  void step(char c);
  void size_byte(char c);
  void expect(bool as_it_must_be, State next, std::string_view why);

  State state_ = State::kSize;
  std::size_t digits_ = 0;
  std::uint64_t left_ = 0;  // of the chunk
  std::string_view why_{};
};

}  // namespace cairn::http
