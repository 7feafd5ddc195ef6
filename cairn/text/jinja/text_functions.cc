// SPDX-License-Identifier: Apache-2.0
#include "cairn/text/jinja/text_functions.h"

#include <algorithm>
#include <string>
#include <unordered_set>

#include "cairn/base/utf8.h"
#include "cairn/text/jinja/work.h"

namespace cairn::jinja {
namespace {

// For cutting a part off: parts take memory that the budget learns of only when all are made.
constexpr std::size_t kStepsPerPart = 4;

// `change(point, index)` gives the character that takes a character's place.
template <class Change>
Text with_changed(const Text& text, const Change& change) {
  count_bytes(4 * text.size());  // to write characters takes longer than to read them
  Text result;
  std::size_t begin = 0;  // of what did not change
  std::size_t at = 0;
  for (std::size_t index = 0; at < text.size(); ++index) {
    const Character c = first_character(std::string_view(text.bytes()).substr(at));
    if (const char32_t to = change(c.point, index); to != c.point) {
      result.append(text, begin, at).append(utf8_encode(to), text.is_trusted(at));
      begin = at + c.length;
    }
    at += c.length;
  }
  return result.append(text, begin, at);
}

bool is_line_end(char32_t point) {
  return (point >= 0x0A && point <= 0x0D) || (point >= 0x1C && point <= 0x1E) || point == 0x85 || point == 0x2028 ||
         point == 0x2029;
}

// Bytes of one of `characters` at an end of the text, or 0.
std::size_t end_character(std::string_view text, const std::unordered_set<std::string_view>& characters, bool front) {
  for (std::size_t size = 1; size <= std::min<std::size_t>(4, text.size()); ++size) {
    if (characters.contains(front ? text.substr(0, size) : text.substr(text.size() - size))) return size;
  }
  return 0;
}

}  // namespace

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = utf8_char_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

Text upper(const Text& text) {
  return with_changed(text, [](char32_t c, std::size_t) { return to_upper(c); });
}

Text lower(const Text& text) {
  return with_changed(text, [](char32_t c, std::size_t) { return to_lower(c); });
}

Text capitalized(const Text& text) {
  return with_changed(text, [](char32_t c, std::size_t i) { return i == 0 ? to_upper(c) : to_lower(c); });
}

Text titled(const Text& text) {
  bool in_word = false;
  return with_changed(text, [&](char32_t c, std::size_t) {
    const bool first = !in_word;
    in_word = is_upper(c) || is_lower(c);
    return first ? to_upper(c) : to_lower(c);
  });
}

Text title_words(const Text& text) {
  constexpr std::u32string_view kBefore = U"-({[<";
  bool first = true;
  return with_changed(text, [&](char32_t c, std::size_t) {
    const char32_t result = first ? to_upper(c) : to_lower(c);
    first = is_space(c) || kBefore.find(c) != std::u32string_view::npos;
    return result;
  });
}

Text swapped_case(const Text& text) {
  return with_changed(text, [](char32_t c, std::size_t) { return is_upper(c) ? to_lower(c) : to_upper(c); });
}

Text strip(const Text& text, const Text* characters, bool left, bool right) {
  const std::string_view bytes = text.bytes();
  TextRange kept{0, bytes.size()};
  if (characters == nullptr) {
    kept = stripped(bytes, left, right);
  } else {
    std::unordered_set<std::string_view> ends;
    for (std::string_view rest = characters->bytes(); !rest.empty();) {
      const std::size_t size = first_character(rest).length;
      ends.insert(rest.substr(0, size));
      rest.remove_prefix(size);
    }
    const auto inside = [&] { return bytes.substr(kept.begin, kept.end - kept.begin); };
    for (std::size_t n = 1; left && n > 0; kept.begin += n) n = end_character(inside(), ends, true);
    for (std::size_t n = 1; right && n > 0; kept.end -= n) n = end_character(inside(), ends, false);
  }
  return text.slice(kept.begin, kept.end);
}

Result<Text> replace(const Text& text, std::string_view old, const Text& replacement, std::int64_t limit,
                     Budget& budget) {
  const std::string& bytes = text.bytes();
  Text result;
  std::size_t begin = 0, counted = 0;
  const auto put = [&](std::size_t at, std::size_t next) -> Status {
    result.append(text, begin, at).append(replacement);
    begin = next;
    CAIRN_TRY_VOID(budget.steps(1));
    const std::size_t grown = result.size() - counted;
    counted = result.size();
    return budget.bytes(grown);
  };
  if (old.empty()) {  // before every character, and at the end
    for (const std::size_t at : character_offsets(bytes)) {
      if (limit == 0) break;
      CAIRN_TRY_VOID(put(at, at));
      --limit;
    }
  } else {
    for (std::size_t at = 0; limit != 0 && (at = find_first(bytes, old, at)) != std::string::npos; --limit) {
      CAIRN_TRY_VOID(put(at, at + old.size()));
      at += old.size();
    }
  }
  CAIRN_TRY_VOID(budget.bytes(bytes.size() - begin));
  return std::move(result.append(text, begin, bytes.size()));
}

Result<Text> escaped(const Text& text, Budget& budget) {
  if (text.is_markup()) return text;
  constexpr std::string_view kSpecial = "&<>'\"";
  constexpr std::string_view kEntities[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
  Text result;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t next = std::min(text.bytes().find_first_of(kSpecial, at), text.size());
    result.append(text, at, next);
    if (next < text.size()) result.append(kEntities[kSpecial.find(text.bytes()[next])], text.is_trusted(next));
    at = next + 1;
  }
  CAIRN_TRY_VOID(budget.bytes(result.size()));
  return result.as_markup();
}

std::vector<Text> split(const Text& text, std::string_view separator, std::int64_t limit, bool from_right) {
  const std::string& bytes = text.bytes();
  std::vector<Text> parts;
  if (from_right) {
    // Turned round, so that the search takes linear time.
    const std::string mirrored(bytes.rbegin(), bytes.rend()), mark(separator.rbegin(), separator.rend());
    std::size_t end = bytes.size();
    for (; limit != 0 && count_steps(kStepsPerPart); --limit) {
      const std::size_t found = find_first(mirrored, mark, bytes.size() - end);
      if (found == std::string::npos) break;
      const std::size_t after = bytes.size() - found;
      parts.push_back(text.slice(after, end));
      end = after - separator.size();
    }
    parts.push_back(text.slice(0, end));
    std::ranges::reverse(parts);
    return parts;
  }
  std::size_t begin = 0;
  for (std::size_t at = 0; limit != 0 && (at = find_first(bytes, separator, begin)) != std::string::npos; --limit) {
    if (!count_steps(kStepsPerPart)) break;
    parts.push_back(text.slice(begin, at));
    begin = at + separator.size();
  }
  parts.push_back(text.slice(begin, bytes.size()));
  return parts;
}

std::vector<Text> split_at_spaces(const Text& text, std::int64_t limit, bool from_right) {
  const std::string_view bytes = text.bytes();
  std::vector<TextRange> words;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t begin = at + stripped(bytes.substr(at), true, false).begin;
    std::size_t end = begin;
    while (end < bytes.size()) {
      const Character c = first_character(bytes.substr(end));
      if (is_space(c.point)) break;
      end += c.length;
    }
    if (!count_steps(kStepsPerPart)) break;
    if (end > begin) words.push_back({begin, end});
    at = end;
  }
  // What is not cut any more is one part, with the white space in it.
  if (limit >= 0 && words.size() > static_cast<std::size_t>(limit)) {
    const auto cuts = static_cast<std::size_t>(limit);
    if (from_right) {
      const TextRange joined{0, words[words.size() - 1 - cuts].end};
      words.erase(words.begin(), words.end() - static_cast<std::ptrdiff_t>(cuts) - 1);
      words.front() = joined;
    } else {
      words.resize(cuts + 1);
      words.back().end = bytes.size();
    }
  }
  std::vector<Text> parts;
  for (const TextRange& word : words) parts.push_back(text.slice(word.begin, word.end));
  return parts;
}

std::vector<Text> split_lines(const Text& text, bool keep_ends) {
  const std::string_view bytes = text.bytes();
  std::vector<Text> lines;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < bytes.size();) {
    const Character c = first_character(bytes.substr(at));
    if (!is_line_end(c.point)) {
      at += c.length;
      continue;
    }
    if (!count_steps(kStepsPerPart)) break;
    const std::size_t next = at + (bytes.substr(at).starts_with("\r\n") ? 2 : c.length);
    lines.push_back(text.slice(begin, keep_ends ? next : at));
    begin = at = next;
  }
  if (begin < bytes.size()) lines.push_back(text.slice(begin, bytes.size()));
  return lines;
}

Result<Text> padded(const Text& text, std::int64_t width, const Text& fill, Align align, Budget& budget) {
  const auto size = static_cast<std::int64_t>(character_count(text.bytes()));
  if (width <= size) return text;
  const auto missing = static_cast<std::size_t>(width - size);
  CAIRN_TRY_VOID(budget.values(missing));
  CAIRN_TRY_VOID(budget.bytes(text.size()));
  std::size_t before = align == Align::kRight ? missing : 0;
  if (align == Align::kCenter) before = missing / 2 + (missing & static_cast<std::size_t>(width) & 1);
  Text result;
  for (std::size_t i = 0; i < before; ++i) result.append(fill);
  result.append(text);
  for (std::size_t i = before; i < missing; ++i) result.append(fill);
  return result;
}

}  // namespace cairn::jinja
