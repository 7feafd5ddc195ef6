// SPDX-License-Identifier: Apache-2.0
// Methods of strings that answer a question.
#include <algorithm>
#include <array>
#include <optional>

#include "cairn/text/jinja/builtins.h"
#include "cairn/text/jinja/operators.h"
#include "cairn/text/jinja/work.h"

namespace cairn::jinja {
namespace {

// The part of a text that the optional arguments `start` and `end` leave, in bytes; nothing when start lies behind it.
Result<std::optional<TextRange>> searched(const Text& text, const Bound& bound, std::size_t start) {
  const bool whole = (bound.get(start) == nullptr || bound.at(start).is_none()) &&
                     (bound.get(start + 1) == nullptr || bound.at(start + 1).is_none());
  if (whole) return TextRange{0, text.size()};
  const std::vector<std::size_t> offsets = character_offsets(text.bytes());
  const auto size = static_cast<std::int64_t>(offsets.size()) - 1;
  CAIRN_TRY(std::int64_t begin, bound.integer(start, 0));
  CAIRN_TRY(std::int64_t end, bound.integer(start + 1, size));
  if (begin < 0) begin = std::max<std::int64_t>(0, begin + size);
  if (end < 0) end = std::max<std::int64_t>(0, end + size);
  end = std::min(end, size);
  if (begin > end) return std::nullopt;
  return TextRange{offsets[static_cast<std::size_t>(begin)], offsets[static_cast<std::size_t>(end)]};
}

template <bool front>
Result<Value> affix_method(Runtime& /*runtime*/, const Value& self, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind(front ? "startswith" : "endswith", arguments, {"affix", "start", "end"}, 1));
  CAIRN_TRY(const auto range, searched(*self.text(), bound, 1));
  const auto matches = [&](const Value& affix) -> Result<bool> {
    if (affix.is_undefined()) return undefined_error(affix);
    if (!affix.is_text()) return refused("startswith() and endswith() take a string or a tuple of strings");
    if (!range) return false;
    const std::string_view inside =
        std::string_view(self.text()->bytes()).substr(range->begin, range->end - range->begin);
    return front ? inside.starts_with(affix.text()->bytes()) : inside.ends_with(affix.text()->bytes());
  };
  const Sequence* several = bound.at(0).sequence();
  bool found = false;
  if (several != nullptr && several->kind == SequenceKind::kTuple) {
    for (const Value& affix : several->items) {
      CAIRN_TRY(const bool one, matches(affix));
      found = found || one;
    }
  } else {
    CAIRN_TRY(found, matches(bound.at(0)));
  }
  return Value(found);
}

template <bool from_right, bool must_be_there>
Result<Value> find_in_text(Runtime& /*runtime*/, const Value& self, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("find", arguments, {"sub", "start", "end"}, 1));
  CAIRN_TRY(const Text sub, bound.text(0, {}));
  CAIRN_TRY(const auto range, searched(*self.text(), bound, 1));
  const std::string_view bytes = self.text()->bytes();
  std::size_t at = std::string_view::npos;
  if (range) {
    const std::string_view inside = bytes.substr(0, range->end);
    at = from_right ? find_last(inside, sub.bytes()) : find_first(inside, sub.bytes(), range->begin);
    if (at != std::string_view::npos && at < range->begin) at = std::string_view::npos;
  }
  if (at != std::string_view::npos) return Value(static_cast<std::int64_t>(character_count(bytes.substr(0, at))));
  if (must_be_there) return refused("substring not found");
  return Value(std::int64_t{-1});
}

Result<Value> count_in_text(Runtime& /*runtime*/, const Value& self, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("count", arguments, {"sub", "start", "end"}, 1));
  CAIRN_TRY(const Text sub, bound.text(0, {}));
  CAIRN_TRY(const auto range, searched(*self.text(), bound, 1));
  if (!range) return Value(std::int64_t{0});
  const std::string_view inside =
      std::string_view(self.text()->bytes()).substr(range->begin, range->end - range->begin);
  if (sub.empty()) return Value(static_cast<std::int64_t>(character_count(inside)) + 1);
  std::int64_t found = 0;
  for (std::size_t at = 0; (at = find_first(inside, sub.bytes(), at)) != std::string_view::npos; at += sub.size())
    ++found;
  return Value(found);
}

// Not empty, and `holds` for every character.
template <bool (*holds)(char32_t)>
Result<Value> all_are(Runtime& /*runtime*/, const Value& self, const Arguments& arguments) {
  CAIRN_TRY_VOID(Bound::bind("this method", arguments, {}));
  std::string_view bytes = self.text()->bytes();
  bool all = !bytes.empty();
  while (all && !bytes.empty()) {
    const Character c = first_character(bytes);
    all = holds(c.point);
    bytes.remove_prefix(c.length);
  }
  return Value(all);
}

bool is_alphanumeric(char32_t point) {
  return is_alpha(point) || is_digit(point);
}

Result<Value> is_ascii_method(Runtime& /*runtime*/, const Value& self, const Arguments& arguments) {
  CAIRN_TRY_VOID(Bound::bind("isascii", arguments, {}));
  return Value(std::ranges::all_of(self.text()->bytes(), [](unsigned char byte) { return byte < 0x80; }));
}

// Python knows digits of every script, and numerals that are letters too. Here those of ASCII alone are known; where
// others would decide, nothing is said.
template <bool letters_count>
Result<Value> digits_method(Runtime& /*runtime*/, const Value& self, const Arguments& arguments) {
  CAIRN_TRY_VOID(Bound::bind("this method", arguments, {}));
  std::string_view bytes = self.text()->bytes();
  bool all = !bytes.empty(), known = true;
  for (; !bytes.empty(); bytes.remove_prefix(first_character(bytes).length)) {
    const char32_t point = first_character(bytes).point;
    if (point >= 0x80 && (letters_count || !is_alpha(point))) {
      known = false;
    } else {
      all = all && is_digit(point);
    }
  }
  if (all && !known) return refused("whether digits beyond 0 to 9 are digits is not known here");
  return Value(all);
}

// Some letter has a case, and none the other one.
template <bool lower>
Result<Value> all_in_case(Runtime& /*runtime*/, const Value& self, const Arguments& arguments) {
  CAIRN_TRY_VOID(Bound::bind("this method", arguments, {}));
  std::string_view bytes = self.text()->bytes();
  bool some = false;
  while (!bytes.empty()) {
    const Character c = first_character(bytes);
    if (lower ? is_upper(c.point) : is_lower(c.point)) return Value(false);
    some = some || (lower ? is_lower(c.point) : is_upper(c.point));
    bytes.remove_prefix(c.length);
  }
  return Value(some);
}

constexpr std::array kSearchMethods = std::to_array<Builtin>({
    {"startswith", affix_method<true>},
    {"endswith", affix_method<false>},
    {"find", find_in_text<false, false>},
    {"rfind", find_in_text<true, false>},
    {"index", find_in_text<false, true>},
    {"rindex", find_in_text<true, true>},
    {"count", count_in_text},
    {"isspace", all_are<is_space>},
    {"isalpha", all_are<is_alpha>},
    {"isdigit", digits_method<false>},
    {"isdecimal", digits_method<false>},
    {"isnumeric", digits_method<true>},
    {"isalnum", all_are<is_alphanumeric>},
    {"isascii", is_ascii_method},
    {"islower", all_in_case<true>},
    {"isupper", all_in_case<false>},
});

}  // namespace

std::span<const Builtin> text_search_methods() {
  return kSearchMethods;
}

}  // namespace cairn::jinja
