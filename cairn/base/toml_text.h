// SPDX-License-Identifier: Apache-2.0
// Texts and numbers as checked TOML files hold them (checked_toml.h), for those who write such files.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "cairn/base/utf8.h"

namespace cairn {

inline constexpr std::size_t kMaxTomlText = 4096;  // bytes of a text in quotes
inline constexpr std::size_t kMaxTomlBytes = std::size_t{1} << 20;

constexpr bool is_toml_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
}

// Well-formed UTF-8 without control characters, not longer than kMaxTomlText.
constexpr bool is_toml_text(std::string_view text) {
  if (text.size() > kMaxTomlText) return false;
  while (!text.empty()) {
    const std::size_t length = utf8_char_length(text);
    if (length == 0 || is_toml_control(text.front())) return false;
    text.remove_prefix(length);
  }
  return true;
}

// In quotes. Requires: is_toml_text().
std::string toml_string(std::string_view text);

// Something close that is_toml_text().
std::string as_toml_text(std::string_view text);

// The shortest that reads back as the same double. Requires: finite.
std::string toml_number(double value);

}  // namespace cairn
