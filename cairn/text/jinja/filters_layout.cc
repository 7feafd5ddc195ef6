// SPDX-License-Identifier: Apache-2.0
// Filters that lay out text, and tojson.
#include <algorithm>
#include <array>

#include "cairn/text/jinja/builtins.h"
#include "cairn/text/jinja/json.h"
#include "cairn/text/jinja/operators.h"
#include "cairn/text/jinja/print.h"
#include "cairn/text/jinja/text_functions.h"

namespace cairn::jinja {
namespace {

constexpr std::int64_t kMaxIndent = 1000;

// An indentation, as a text or as a number of spaces.
Result<Text> indentation(const Value& value) {
  if (value.is_text()) return *value.text();
  if (value.is_undefined()) return undefined_error(value);
  const auto width = value.integer();
  if (!width) return refused("an indentation is a number of spaces or a string");
  if (*width > kMaxIndent) return refused("an indentation is wider than " + std::to_string(kMaxIndent));
  return Text::trusted(std::string(static_cast<std::size_t>(std::max<std::int64_t>(0, *width)), ' '));
}

Result<Value> indent_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("indent", arguments, {"width", "first", "blank"}));
  CAIRN_TRY(const Text indentation, indentation(bound.get(0) != nullptr ? bound.at(0) : Value(std::int64_t{4})));
  if (input.is_undefined()) return undefined_error(input);
  if (!input.is_text()) return refused("indent takes a string");
  CAIRN_TRY(Text text, print(input, runtime.budget));
  const std::vector<Text> lines = split_lines(text.append("\n", true), false);
  CAIRN_TRY_VOID(runtime.budget.bytes(text.size()));
  CAIRN_TRY_VOID(runtime.budget.values(lines.size() * (1 + indentation.size() / 32)));
  Text result;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) result.append("\n", true);
    const bool wanted = i == 0 ? bound.flag(1, false) : !lines[i].empty() || bound.flag(2, false);
    if (wanted) result.append(indentation);
    result.append(lines[i]);
  }
  return Value(std::move(result));
}

Result<Value> center_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("center", arguments, {"width"}));
  CAIRN_TRY(const std::int64_t width, bound.integer(0, 80));
  CAIRN_TRY(const Text text, print(input, runtime.budget));
  CAIRN_TRY(Text result, padded(text, width, Text::trusted(" "), Align::kCenter, runtime.budget));
  return Value(std::move(result));
}

Result<Value> truncate_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("truncate", arguments, {"length", "killwords", "end", "leeway"}));
  CAIRN_TRY(const std::int64_t length, bound.integer(0, 255));
  CAIRN_TRY(const Text end, bound.text(2, Text::trusted("...")));
  CAIRN_TRY(const std::int64_t leeway, bound.integer(3, 5));
  const std::int64_t kept = length - static_cast<std::int64_t>(character_count(end.bytes()));
  if (kept < 0 || leeway < 0) return refused("truncate: the length must hold the end, and the leeway be positive");
  // Python asks for the length first: a list or dict that is short enough stays what it is.
  const bool is_list = input.is_dict() || (input.is_sequence() && input.sequence()->kind != SequenceKind::kGenerator);
  if (is_list) {
    CAIRN_TRY(const Values items, iterate(input, runtime.budget));
    if (std::ssize(items) <= length || std::ssize(items) - length <= leeway) return input;
  }
  if (!input.is_text() && !input.is_undefined()) return refused("truncate takes a string");
  CAIRN_TRY(const Text text, print(input, runtime.budget));
  const std::vector<std::size_t> offsets = character_offsets(text.bytes());
  const auto size = static_cast<std::int64_t>(offsets.size()) - 1;
  if (size <= length || size - length <= leeway) return Value(text);
  Text result = text.slice(0, offsets[static_cast<std::size_t>(kept)]);
  if (!bound.flag(1, false)) {
    const std::size_t space = result.bytes().rfind(' ');
    if (space != std::string::npos) result = result.slice(0, space);
  }
  return Value(std::move(result.append(end)));
}

Result<Value> tojson_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"}));
  JsonStyle style{.ensure_ascii = bound.flag(0, false), .sort_keys = bound.flag(3, false)};
  if (bound.get(1) != nullptr && !bound.at(1).is_none()) {
    CAIRN_TRY(const Text indent, indentation(bound.at(1)));
    style.indent = indent.bytes();
  }
  if (bound.get(2) != nullptr && !bound.at(2).is_none()) {
    const Sequence* pair = bound.at(2).sequence();
    if (pair == nullptr || pair->items.size() != 2 || !pair->items[0].is_text() || !pair->items[1].is_text()) {
      return refused("tojson: separators are two strings");
    }
    style.separators.emplace(pair->items[0].text()->bytes(), pair->items[1].text()->bytes());
  }
  CAIRN_TRY(std::string text, write_json(input, style, runtime.budget));
  return Value::plain(std::move(text));
}

constexpr std::array kLayoutFilters = std::to_array<Builtin>({
    {"indent", indent_filter},
    {"center", center_filter},
    {"truncate", truncate_filter},
    {"tojson", tojson_filter},
});

}  // namespace

std::span<const Builtin> layout_filters() {
  return kLayoutFilters;
}

}  // namespace cairn::jinja
