// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>

#include "cairn/codec/plan_file_rules.h"

namespace cairn {
namespace {

constexpr bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
constexpr bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// Of names and numbers.
constexpr bool is_bare(char c) {
  return is_letter(c) || is_digit(c) || std::string_view("_-+.").find(c) != std::string_view::npos;
}
// All there is outside of quotes.
constexpr bool is_syntax(char c) {
  return is_bare(c) || std::string_view("=,[] \t\r").find(c) != std::string_view::npos;
}

// What begins like a number in front of `text`. The parser looks for its end beyond brackets and quotes and at what
// they hold, and takes much for a date.
Status check_number(std::string_view text, std::size_t line) {
  std::size_t end = 1;
  int signs = 0;
  for (; end < text.size() && is_bare(text[end]); ++end) {
    if (text[end] != '-' && text[end] != '+') continue;
    const bool of_exponent = text[end - 1] == 'e' || text[end - 1] == 'E';
    if (!of_exponent || ++signs > 1) return refuse_line(line, "this is no number; dates and times belong in quotes");
  }
  if (end < text.size() && std::string_view("[='\"").find(text[end]) != std::string_view::npos) {
    return refuse_line(line, "a number must end before anything else begins");
  }
  return {};
}

// One past the closing quote of the text that begins at `begin`, or npos.
std::size_t end_of_text(std::string_view line, std::size_t begin) {
  const char quote = line[begin];
  for (std::size_t i = begin + 1; i < line.size(); ++i) {
    if (line[i] == quote) return i + 1;
    if (quote == '"' && line[i] == '\\') ++i;
  }
  return std::string_view::npos;
}

// Line by line before the parser sees anything. Its release in Debian 12 trusts texts too much: tables that are nested
// by dotted keys and braces as deep as a text is long overflow the stack; brackets without a name, broken times and
// letters beyond ASCII in a wrong place fail its assertions or are undefined. No plan needs any of these. Without texts
// over several lines, quotes mean here what they mean to the parser.
Status check_line(std::string_view line, std::size_t number) {
  const std::size_t first = line.find_first_not_of(" \t");
  if (first != std::string_view::npos && line[first] == '[') {
    if (first + 1 == line.size() || !is_letter(line[first + 1])) {
      return refuse_line(number, "what begins with '[' must be a table as [found]");
    }
  }
  constexpr int kMaxDots = 16;
  int dots = 0;
  for (std::size_t i = 0; i < line.size() && line[i] != '#'; ++i) {
    const char c = line[i];
    if (c == '"' || c == '\'') {
      if (line.substr(i, 3) == std::string(3, c)) {
        return refuse_line(number, "texts over several lines have no place in a plan");
      }
      const std::size_t end = end_of_text(line, i);
      if (end == std::string_view::npos) return refuse_line(number, "the text in quotes does not end on its line");
      i = end - 1;
      continue;
    }
    const bool begins = i == 0 || !is_bare(line[i - 1]);
    if (begins && (is_digit(c) || c == '+' || c == '-')) CAIRN_TRY_VOID(check_number(line.substr(i), number));
    if (!is_syntax(c)) {
      const std::string_view letter = line.substr(i, utf8_char_length(line.substr(i)));
      return refuse_line(number, "'" + printable_start(letter, 1) + "' has no place outside of quotes");
    }
    dots += c == '.';
    if (dots > kMaxDots) return refuse_line(number, "there are too many points outside of quotes");
  }
  return {};
}

}  // namespace

Status check_plan_lines(std::string_view text) {
  if (text.size() > kMaxPlanFileBytes) return refuse_line(1, "the text is far too long for a plan");
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t length = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, length);
    for (std::string_view rest = line; !rest.empty(); rest.remove_prefix(utf8_char_length(rest))) {
      if (utf8_char_length(rest) == 0) return refuse_line(number, "the text is not UTF-8");
    }
    CAIRN_TRY_VOID(check_line(line, number));
    text.remove_prefix(std::min(length + 1, text.size()));
  }
  return {};
}

}  // namespace cairn
