// SPDX-License-Identifier: Apache-2.0
// UTF-8: length of the next well-formed character, and a stream that never emits half of one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace cairn {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

// How the bytes at the front of `text` read as UTF-8.
struct Utf8Prefix {
  std::size_t length = 0;  // bytes looked at: of the whole character, or of the longest well-formed beginning of one
  bool complete = false;   // a whole character lies in front; else length may be 0 (invalid) or the text ends too early
};

// Strict: no overlong forms, no surrogates, nothing above U+10FFFF. `text` must not be empty.
constexpr Utf8Prefix read_utf8(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t lead = byte(0);
  if (lead < 0x80) return {1, true};
  if (lead < 0xC2 || lead > 0xF4) return {0, false};
  const std::size_t need = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  for (std::size_t i = 1; i < need; ++i) {
    if (i == text.size()) return {i, false};
    // The second byte carries the bounds that exclude overlong forms, surrogates and code points beyond the last.
    const std::uint8_t low = i > 1 ? 0x80 : lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    const std::uint8_t high = i > 1 ? 0xBF : lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (byte(i) < low || byte(i) > high) return {0, false};
  }
  return {need, true};
}

// Bytes of the well-formed character in front of `text`, or 0 where there is none (invalid, cut off or empty).
constexpr std::size_t utf8_char_length(std::string_view text) {
  if (text.empty()) return 0;
  const Utf8Prefix prefix = read_utf8(text);
  return prefix.complete ? prefix.length : 0;
}

// The UTF-8 bytes of one code point; those that have no UTF-8 form (surrogates, too large) become U+FFFD.
inline std::string utf8_encode(char32_t point) {
  const auto tail = [&](int shift) { return static_cast<char>(0x80 | ((point >> shift) & 0x3F)); };
  if (point < 0x80) return {static_cast<char>(point)};
  if (point < 0x800) return {static_cast<char>(0xC0 | (point >> 6)), tail(0)};
  if (point >= 0xD800 && point < 0xE000) return std::string(kReplacementCharacter);
  if (point < 0x10000) return {static_cast<char>(0xE0 | (point >> 12)), tail(6), tail(0)};
  if (point < 0x110000) return {static_cast<char>(0xF0 | (point >> 18)), tail(12), tail(6), tail(0)};
  return std::string(kReplacementCharacter);
}

// The first `max_chars` characters as one line that is safe to print: control characters become spaces, bytes that are
// not UTF-8 become U+FFFD, and "..." says that more follows.
inline std::string printable_start(std::string_view text, std::size_t max_chars) {
  std::string line;
  for (std::size_t i = 0; i < max_chars && !text.empty(); ++i) {
    const std::size_t length = utf8_char_length(text);
    const bool control = length == 1 && (text[0] < 0x20 || text[0] == 0x7F);
    line += length == 0 ? kReplacementCharacter : control ? std::string_view(" ") : text.substr(0, length);
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return text.empty() ? line : line + "...";
}

// Joins the bytes of successive tokens and hands on whole characters: the beginning of a character that may still be
// completed is held back (at most 3 bytes). Invalid bytes pass through unchanged, so the concatenation of all results
// and of finish() is exactly what went in. Thread-compatible.
class Utf8Stream {
 public:
  std::string feed(std::string_view bytes) {
    held_ += bytes;
    const std::size_t keep = unfinished_tail(held_);
    std::string ready = held_.substr(0, held_.size() - keep);
    held_.erase(0, held_.size() - keep);
    return ready;
  }

  // What is still held back; the stream is empty afterwards.
  std::string finish() { return std::exchange(held_, {}); }

 private:
  static std::size_t unfinished_tail(std::string_view text) {
    for (std::size_t back = 1; back <= 3 && back <= text.size(); ++back) {
      const Utf8Prefix prefix = read_utf8(text.substr(text.size() - back));
      if (!prefix.complete && prefix.length == back) return back;
    }
    return 0;
  }

  std::string held_;
};

}  // namespace cairn
