// SPDX-License-Identifier: Apache-2.0
// Text that remembers which of its bytes a template wrote itself: what a user wrote stays apart from it, however both
// are joined, cut and changed on the way to the output.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/text/text_range.h"

namespace cairn::jinja {

// Any bytes; those that are not UTF-8 count as one character each. Thread-compatible.
class Text {
 public:
  Text() = default;
  static Text trusted(std::string bytes);
  static Text plain(std::string bytes);

  const std::string& bytes() const { return bytes_; }
  std::size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  // What the template wrote: sorted, neither empty nor touching each other.
  const std::vector<TextRange>& trusted_ranges() const { return trusted_; }
  bool is_trusted(std::size_t byte) const;
  // Came from `safe` or `escape`: what is added to it with + is escaped, as in Python's markupsafe.
  bool is_markup() const { return markup_; }
  Text as_markup() const;

  Text& append(const Text& other) { return append(other, 0, other.size()); }
  Text& append(const Text& other, std::size_t begin, std::size_t end);
  Text& append(std::string_view bytes, bool trusted);
  // Requires: begin <= end <= size(). Also the two below.
  Text slice(std::size_t begin, std::size_t end) const;

 private:
  void trust(std::size_t begin, std::size_t end);

  std::string bytes_;
  std::vector<TextRange> trusted_;
  bool markup_ = false;
};

// The character in front of a text that is not empty.
struct Character {
  char32_t point = 0;      // of a byte that is not UTF-8: 0xDC00 + the byte
  std::size_t length = 1;  // bytes
};
Character first_character(std::string_view text);

std::size_t character_count(std::string_view text);
// Byte offsets of the characters, and the size of the text as the last.
std::vector<std::size_t> character_offsets(std::string_view text);

// As Python's str.isspace, isalpha and so on see one character; letters beyond ASCII as the C library knows them.
bool is_space(char32_t point);
bool is_alpha(char32_t point);
bool is_digit(char32_t point);
bool is_upper(char32_t point);
bool is_lower(char32_t point);
char32_t to_upper(char32_t point);
char32_t to_lower(char32_t point);
// Python's repr() writes it as it is.
bool is_printable(char32_t point);

// Bytes that str.strip() without arguments would leave.
TextRange stripped(std::string_view text, bool left = true, bool right = true);

}  // namespace cairn::jinja
