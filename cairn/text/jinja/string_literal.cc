// SPDX-License-Identifier: Apache-2.0
#include "cairn/text/jinja/string_literal.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>

#include "cairn/base/utf8.h"
#include "cairn/text/jinja/budget.h"

namespace cairn::jinja {
namespace {

// The number that the first `count` characters write in that base, or nothing.
std::optional<char32_t> number(std::string_view text, std::size_t count, int base) {
  if (text.size() < count) return std::nullopt;
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + count, value, base);
  if (error != std::errc() || end != text.data() + count) return std::nullopt;
  return static_cast<char32_t>(value);
}

std::size_t octal_digits(std::string_view text) {
  std::size_t count = 0;
  while (count < 3 && count < text.size() && text[count] >= '0' && text[count] <= '7') ++count;
  return count;
}

}  // namespace

Result<std::string> read_string_literal(std::string_view body) {
  constexpr std::string_view kNames = "\\'\"abfnrtv", kMeant = "\\'\"\a\b\f\n\r\t\v";
  std::string out;
  while (!body.empty()) {
    const std::size_t run = std::min(body.find('\\'), body.size());
    out += body.substr(0, run);
    body.remove_prefix(run);
    if (body.empty()) break;
    if (body.size() == 1) return refused("a string ends within an escape");
    const char name = body[1];
    if (const std::size_t known = kNames.find(name); known != std::string_view::npos) {
      out += kMeant[known];
      body.remove_prefix(2);
    } else if (name == '\n') {
      body.remove_prefix(2);
    } else if (const std::size_t octal = octal_digits(body.substr(1)); octal > 0) {
      out += utf8_encode(*number(body.substr(1), octal, 8));
      body.remove_prefix(1 + octal);
    } else if (name == 'x' || name == 'u' || name == 'U') {
      const std::size_t count = name == 'x' ? 2 : name == 'u' ? 4 : 8;
      const auto point = number(body.substr(2), count, 16);
      if (point && *point >= 0xD800 && *point <= 0xDFFF) return refused("half of a surrogate pair is no character");
      if (!point || *point > 0x10FFFF) {
        return refused(std::string("\\") + name + " needs " + std::to_string(count) + " hexadecimal digits");
      }
      out += utf8_encode(*point);
      body.remove_prefix(2 + count);
    } else if (name == 'N') {
      return refused("\\N is not supported: write the character itself");
    } else {
      out += '\\';
      body.remove_prefix(1);
    }
  }
  return out;
}

}  // namespace cairn::jinja
