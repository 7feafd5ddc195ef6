// SPDX-License-Identifier: Apache-2.0
#include "cairn/text/jinja/text.h"

#include <locale.h>
#include <wctype.h>

#include <algorithm>
#include <array>
#include <utility>

#include "cairn/base/utf8.h"

namespace cairn::jinja {
namespace {

// Upper and lower case of letters beyond ASCII, whatever the user's locale is. Null where the system has no such
// locale: then such letters have no case.
locale_t letters() {
  static const locale_t locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  return locale;
}

bool is_invalid_byte(char32_t point) {
  return point >= 0xDC80 && point <= 0xDCFF;
}

struct PointRange {
  char32_t first, last;
};

constexpr std::array<PointRange, 10> kSpaces = {{{0x09, 0x0D},
                                                 {0x1C, 0x20},
                                                 {0x85, 0x85},
                                                 {0xA0, 0xA0},
                                                 {0x1680, 0x1680},
                                                 {0x2000, 0x200A},
                                                 {0x2028, 0x2029},
                                                 {0x202F, 0x202F},
                                                 {0x205F, 0x205F},
                                                 {0x3000, 0x3000}}};

// Controls, formats, surrogates, private use and noncharacters; unassigned points are not listed.
constexpr std::array<PointRange, 17> kUnprintable = {{{0x00, 0x1F},
                                                      {0x7F, 0xA0},
                                                      {0xAD, 0xAD},
                                                      {0x0600, 0x0605},
                                                      {0x061C, 0x061C},
                                                      {0x06DD, 0x06DD},
                                                      {0x070F, 0x070F},
                                                      {0x1680, 0x1680},
                                                      {0x180E, 0x180E},
                                                      {0x2000, 0x200F},
                                                      {0x2028, 0x202F},
                                                      {0x205F, 0x206F},
                                                      {0x3000, 0x3000},
                                                      {0xD800, 0xF8FF},
                                                      {0xFEFF, 0xFEFF},
                                                      {0xFFF0, 0xFFFB},
                                                      {0xE0000, 0x10FFFF}}};

template <std::size_t n>
bool is_within(char32_t point, const std::array<PointRange, n>& ranges) {
  return std::ranges::any_of(ranges, [&](const PointRange& r) { return point >= r.first && point <= r.last; });
}

}  // namespace

Text Text::trusted(std::string bytes) {
  Text text;
  text.bytes_ = std::move(bytes);
  text.trust(0, text.bytes_.size());
  return text;
}

Text Text::plain(std::string bytes) {
  Text text;
  text.bytes_ = std::move(bytes);
  return text;
}

bool Text::is_trusted(std::size_t byte) const {
  const auto after = std::ranges::upper_bound(trusted_, byte, {}, &TextRange::begin);
  return after != trusted_.begin() && byte < std::prev(after)->end;
}

Text Text::as_markup() const {
  Text text = *this;
  text.markup_ = true;
  return text;
}

void Text::trust(std::size_t begin, std::size_t end) {
  if (begin == end) return;
  if (!trusted_.empty() && trusted_.back().end == begin) {
    trusted_.back().end = end;
  } else {
    trusted_.push_back({begin, end});
  }
}

Text& Text::append(const Text& other, std::size_t begin, std::size_t end) {
  const std::size_t start = bytes_.size();
  bytes_.append(other.bytes_, begin, end - begin);
  const std::vector<TextRange>& ranges = other.trusted_;
  auto range = std::ranges::upper_bound(ranges, begin, {}, &TextRange::end);
  const auto count = static_cast<std::size_t>(ranges.end() - range);
  for (std::size_t i = 0; i < count && range->begin < end; ++i, ++range) {
    const std::size_t from = std::max(range->begin, begin), to = std::min(range->end, end);
    trust(start + from - begin, start + to - begin);
  }
  return *this;
}

Text& Text::append(std::string_view bytes, bool trusted) {
  const std::size_t start = bytes_.size();
  bytes_ += bytes;
  if (trusted) trust(start, bytes_.size());
  return *this;
}

Text Text::slice(std::size_t begin, std::size_t end) const {
  Text part;
  part.append(*this, begin, end);
  return part;
}

Character first_character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(text[i])); };
  const std::size_t length = utf8_char_length(text);
  switch (length) {
    case 0: return {0xDC00 + byte(0), 1};
    case 1: return {byte(0), 1};
    case 2: return {((byte(0) & 0x1F) << 6) | (byte(1) & 0x3F), 2};
    case 3: return {((byte(0) & 0x0F) << 12) | ((byte(1) & 0x3F) << 6) | (byte(2) & 0x3F), 3};
    default:
      return {((byte(0) & 0x07) << 18) | ((byte(1) & 0x3F) << 12) | ((byte(2) & 0x3F) << 6) | (byte(3) & 0x3F), 4};
  }
}

std::size_t character_count(std::string_view text) {
  std::size_t count = 0;
  for (; !text.empty(); ++count) text.remove_prefix(std::max<std::size_t>(1, utf8_char_length(text)));
  return count;
}

std::vector<std::size_t> character_offsets(std::string_view text) {
  std::vector<std::size_t> offsets;
  for (std::size_t at = 0; at < text.size(); at += std::max<std::size_t>(1, utf8_char_length(text.substr(at)))) {
    offsets.push_back(at);
  }
  offsets.push_back(text.size());
  return offsets;
}

bool is_space(char32_t point) {
  return is_within(point, kSpaces);
}

bool is_alpha(char32_t point) {
  if (point < 0x80) return (point | 0x20) >= 'a' && (point | 0x20) <= 'z';
  if (is_invalid_byte(point) || letters() == nullptr) return false;
  return iswalpha_l(static_cast<wint_t>(point), letters()) != 0 &&
         iswdigit_l(static_cast<wint_t>(point), letters()) == 0;
}

bool is_digit(char32_t point) {
  return point >= '0' && point <= '9';
}

bool is_upper(char32_t point) {
  return to_lower(point) != point;
}

bool is_lower(char32_t point) {
  return to_upper(point) != point;
}

char32_t to_upper(char32_t point) {
  if (point < 0x80) return point >= 'a' && point <= 'z' ? point - 0x20 : point;
  if (is_invalid_byte(point) || letters() == nullptr) return point;
  return static_cast<char32_t>(towupper_l(static_cast<wint_t>(point), letters()));
}

char32_t to_lower(char32_t point) {
  if (point < 0x80) return point >= 'A' && point <= 'Z' ? point + 0x20 : point;
  if (is_invalid_byte(point) || letters() == nullptr) return point;
  return static_cast<char32_t>(towlower_l(static_cast<wint_t>(point), letters()));
}

bool is_printable(char32_t point) {
  return !is_within(point, kUnprintable);
}

TextRange stripped(std::string_view text, bool left, bool right) {
  TextRange kept{0, text.size()};
  while (left && kept.begin < kept.end) {
    const Character c = first_character(text.substr(kept.begin));
    if (!is_space(c.point)) break;
    kept.begin += c.length;
  }
  while (right && kept.begin < kept.end) {
    // A character is at most four bytes; the last one begins at the last byte that does not continue one.
    std::size_t at = kept.end - 1;
    while (at > kept.begin && kept.end - at < 4 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
    const Character c = first_character(text.substr(at, kept.end - at));
    if (at + c.length != kept.end || !is_space(c.point)) break;
    kept.end = at;
  }
  return kept;
}

}  // namespace cairn::jinja
