// SPDX-License-Identifier: Apache-2.0
#include "cairn/base/toml_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace cairn {

std::string toml_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::string as_toml_text(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t length = utf8_char_length(text);
    const std::string_view next = length == 0                     ? kReplacementCharacter
                                  : is_toml_control(text.front()) ? " "
                                                                  : text.substr(0, length);
    if (out.size() + next.size() > kMaxTomlText) break;
    out += next;
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return out;
}

// TOML's whole numbers end at 2^63, doubles do not, and have no "-0".
std::string toml_number(double value) {
  if (value == 0) return "0";
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  std::string text(buffer, end);
  if (std::abs(value) >= 1e15 && text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

}  // namespace cairn
