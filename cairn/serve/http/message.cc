// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/http/message.h"

#include <algorithm>
#include <cctype>
#include <charconv>

namespace cairn::http {
namespace {

constexpr std::size_t kLongestTarget = 512;  // ours are short; the library matches them with a recursive regex

// METHOD SP TARGET SP VERSION, with nothing more between.
bool is_request_line(std::string_view line) {
  return std::ranges::count(line, ' ') == 2 && !line.contains('\t') && !line.contains("  ") && line.front() != ' ' &&
         line.back() != ' ';
}

bool has_proper_name(std::string_view header) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  const std::string_view name = header.substr(0, std::min(header.find(':'), header.size()));
  const auto proper = [&](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || kMarks.contains(c); };
  return !name.empty() && name.size() < header.size() && std::ranges::all_of(name, proper);
}

constexpr std::size_t kMaxDigits = 8;  // a chunk of 4 GiB; bodies have a lower bound of their own

constexpr std::string_view kBadSize = "a chunk's size is not valid";
constexpr std::string_view kBadEnd = "a chunk does not end where its size says";
constexpr std::string_view kTrailer = "trailers are not taken";

// -1 without one.
int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

bool is_control(char c) {
  return (static_cast<unsigned char>(c) < ' ' && c != '\t') || c == 0x7F;
}

std::string_view path_of_target(std::string_view target) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!std::ranges::equal(target.substr(0, scheme.size()), scheme, {}, NoCase::lower)) continue;
    target.remove_prefix(scheme.size());
    target.remove_prefix(std::min(target.find_first_of("/?"), target.size()));
    if (!target.starts_with('/')) return "/";
    break;
  }
  return target.substr(0, target.find('?'));
}

HeadRefusal target_too_long() {
  return {414, "the target has more than " + std::to_string(kLongestTarget) + " bytes"};
}

std::optional<HeadRefusal> refuse_target(std::string_view target) {
  if (target.size() <= kLongestTarget) return std::nullopt;
  return target_too_long();
}

std::optional<HeadRefusal> refuse_lines(std::string_view head) {
  bool first = true;
  while (!head.empty()) {
    const std::size_t end = std::min(head.find("\r\n"), head.size());
    const std::string_view line = head.substr(0, end);
    if (!first && line.empty()) return std::nullopt;  // the end of the head
    if (std::ranges::any_of(line, is_control)) {
      return HeadRefusal{400, "the head has a control character, or half of a line's end"};
    }
    if (first && !is_request_line(line)) return HeadRefusal{400, "the request line does not have three parts"};
    if (!first && !has_proper_name(line)) return HeadRefusal{400, "a header has no proper name"};
    head.remove_prefix(std::min(end + 2, head.size()));
    first = false;
  }
  return std::nullopt;
}

std::optional<HeadRefusal> refuse_head(const Request& request, std::size_t max_body_bytes) {
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
    if (wrong != std::errc() || length > max_body_bytes) {
      return HeadRefusal{413, "the body has more than " + std::to_string(max_body_bytes) + " bytes"};
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

bool ChunkRules::take(std::string_view bytes) {
  while (!bytes.empty() && why_.empty()) {
    if (state_ != State::kData) {
      step(bytes.front());
      bytes.remove_prefix(1);
      continue;
    }
    const auto data = static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size()));
    left_ -= data;
    bytes.remove_prefix(data);
    if (left_ == 0) state_ = State::kDataCr;
  }
  return why_.empty();
}

void ChunkRules::step(char c) {
  switch (state_) {
    case State::kSize: return size_byte(c);
    case State::kExtension:
      if (c == '\r') {
        state_ = State::kSizeLf;
      } else if (is_control(c)) {
        why_ = kBadSize;
      }
      return;
    case State::kSizeLf: return expect(c == '\n', left_ == 0 ? State::kLastCr : State::kData, kBadSize);
    case State::kDataCr: return expect(c == '\r', State::kDataLf, kBadEnd);
    case State::kDataLf: digits_ = 0; return expect(c == '\n', State::kSize, kBadEnd);
    case State::kLastCr: return expect(c == '\r', State::kLastLf, kTrailer);
    case State::kLastLf: return expect(c == '\n', State::kEnd, kBadEnd);
    case State::kData:
    case State::kEnd: why_ = kBadEnd;
  }
}

void ChunkRules::size_byte(char c) {
  const int digit = hex_digit(c);
  if (digit >= 0 && digits_ < kMaxDigits) {
    ++digits_;
    left_ = left_ * 16 + static_cast<unsigned>(digit);
  } else if (digits_ > 0 && c == ';') {
    state_ = State::kExtension;
  } else {
    expect(digits_ > 0 && c == '\r', State::kSizeLf, kBadSize);
  }
}

void ChunkRules::expect(bool as_it_must_be, State next, std::string_view why) {
  if (as_it_must_be) {
    state_ = next;
  } else {
    why_ = why;
  }
}

}  // namespace cairn::http
