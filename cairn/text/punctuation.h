// SPDX-License-Identifier: Apache-2.0
// Which tokens say nothing by themselves: marks and white space.
#pragma once

#include <algorithm>
#include <string_view>

#include "cairn/base/utf8.h"

namespace cairn {

// White space and marks of Latin and East Asian writing. Symbols such as "$" and "+" count where they are ASCII's.
constexpr bool is_mark(char32_t point) {
  constexpr struct {
    char32_t first, last;
  } kMarks[] = {{0x09, 0x0D},     {0x20, 0x2F},     {0x3A, 0x40},     {0x5B, 0x60},     {0x7B, 0x7E},
                {0xA0, 0xA1},     {0xA7, 0xA7},     {0xAB, 0xAB},     {0xB6, 0xB7},     {0xBB, 0xBB},
                {0xBF, 0xBF},     {0x2000, 0x206F}, {0x3000, 0x3003}, {0x3008, 0x3011}, {0x3014, 0x301F},
                {0xFF01, 0xFF0F}, {0xFF1A, 0xFF20}, {0xFF3B, 0xFF40}, {0xFF5B, 0xFF65}};
  return std::ranges::any_of(kMarks, [=](const auto& range) { return point >= range.first && point <= range.last; });
}

// Nothing but marks, and not empty. Bytes that are no whole characters are none.
constexpr bool is_punctuation_text(std::string_view text) {
  if (text.empty()) return false;
  while (!text.empty()) {
    const std::size_t length = utf8_char_length(text);
    if (length == 0) return false;
    const auto byte = [&](std::size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(text[i])); };
    char32_t point = length == 1 ? byte(0) : byte(0) & (0xFFu >> (length + 1));
    for (std::size_t i = 1; i < length; ++i) point = point << 6 | (byte(i) & 0x3F);
    if (!is_mark(point)) return false;
    text.remove_prefix(length);
  }
  return true;
}

}  // namespace cairn
