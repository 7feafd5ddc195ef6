// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>

#include "cairn/codec/plan_file_rules.h"

namespace cairn {
namespace {

// Line by line before the parser sees anything. No plan has what is kept out here, and by long chains of dotted keys in
// nested braces the parser would nest tables as deep as the text is long, beyond the stack. Without texts over several
// lines, quotes mean here what they mean to the parser.
Status check_line(std::string_view line, std::size_t number) {
  constexpr int kMostDots = 16;
  int dots = 0;
  for (std::size_t i = 0; i < line.size() && line[i] != '#'; ++i) {
    const char c = line[i];
    dots += c == '.';
    if (dots > kMostDots) return refuse_line(number, "there are too many points outside of quotes");
    if (c == '{' || c == '}') return refuse_line(number, "tables in braces have no place in a plan");
    if (c != '"' && c != '\'') continue;
    if (line.substr(i, 3) == std::string(3, c))
      return refuse_line(number, "texts over several lines have no place in a plan");
    std::size_t end = i + 1;
    while (end < line.size() && line[end] != c) end += c == '"' && line[end] == '\\' ? 2 : 1;
    if (end >= line.size()) return refuse_line(number, "the text in quotes does not end on its line");
    i = end;
  }
  return {};
}

}  // namespace

Status check_plan_lines(std::string_view text) {
  if (text.size() > kMostPlanFileBytes) return refuse_line(1, "the text is far too long for a plan");
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
