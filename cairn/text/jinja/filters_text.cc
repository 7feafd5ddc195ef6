// SPDX-License-Identifier: Apache-2.0
// Filters that take any value as text and give text.
#include <algorithm>
#include <array>
#include <cstdio>

#include "cairn/text/jinja/builtins.h"
#include "cairn/text/jinja/operators.h"
#include "cairn/text/jinja/print.h"
#include "cairn/text/jinja/text_functions.h"

namespace cairn::jinja {
namespace {

template <Text (*change)(const Text&)>
Result<Value> changed_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  CAIRN_TRY_VOID(Bound::bind("this filter", arguments, {}));
  CAIRN_TRY(const Text text, print(input, runtime.budget));
  CAIRN_TRY_VOID(runtime.budget.bytes(text.size()));
  return Value(change(text));
}

Text unchanged(const Text& text) {
  return text;
}
Text safe(const Text& text) {
  return text.as_markup();
}

Result<Value> trim_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("trim", arguments, {"chars"}));
  CAIRN_TRY(const Text characters, bound.text(0, {}));
  CAIRN_TRY(const Text text, print(input, runtime.budget));
  CAIRN_TRY_VOID(runtime.budget.bytes(text.size()));
  const bool given = bound.get(0) != nullptr && !bound.at(0).is_none();
  return Value(strip(text, given ? &characters : nullptr, true, true));
}

Result<Value> replace_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("replace", arguments, {"old", "new", "count"}, 2));
  CAIRN_TRY(const std::int64_t limit, bound.integer(2, -1));
  CAIRN_TRY(const Text text, print(input, runtime.budget));
  CAIRN_TRY(const Text old, print(bound.at(0), runtime.budget));
  CAIRN_TRY(const Text replacement, print(bound.at(1), runtime.budget));
  CAIRN_TRY(Text result, replace(text, old.bytes(), replacement, limit, runtime.budget));
  return Value(std::move(result));
}

Result<Value> escape_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  CAIRN_TRY_VOID(Bound::bind("escape", arguments, {}));
  CAIRN_TRY(Text text, print(input, runtime.budget));
  CAIRN_TRY(text, escaped(text, runtime.budget));
  return Value(std::move(text));
}

Result<Value> urlencode_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  CAIRN_TRY_VOID(Bound::bind("urlencode", arguments, {}));
  if (input.is_dict() || input.is_sequence()) return refused("urlencode of lists and dicts is not supported");
  CAIRN_TRY(const Text text, print(input, runtime.budget));
  CAIRN_TRY_VOID(runtime.budget.bytes(text.size() * 3));
  CAIRN_TRY_VOID(runtime.budget.steps(text.size() / 2));
  Text result;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const auto c = static_cast<unsigned char>(text.bytes()[at]);
    if ((c < 0x80 && is_alpha(c)) || is_digit(c) ||
        std::string_view("_.-~/").find(text.bytes()[at]) != std::string_view::npos) {
      result.append(text, at, at + 1);
    } else {
      char escaped[8];
      std::snprintf(escaped, sizeof(escaped), "%%%02X", c);
      result.append(escaped, text.is_trusted(at));
    }
  }
  return Value(std::move(result));
}

Result<Value> format_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  if (!arguments.positional.empty() && !arguments.named.empty()) {
    return refused("format takes values in order or by name, not both");
  }
  CAIRN_TRY(const Text text, print(input, runtime.budget));
  if (arguments.named.empty()) {
    CAIRN_TRY(const Value values, make_tuple(arguments.positional));
    return format_percent(text, values, runtime.budget);
  }
  Dict values;
  for (const auto& [name, value] : arguments.named) CAIRN_TRY_VOID(values.set(Value::plain(name), value));
  return format_percent(text, Value(std::move(values)), runtime.budget);
}

Result<Value> wordcount_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  CAIRN_TRY_VOID(Bound::bind("wordcount", arguments, {}));
  CAIRN_TRY(const Text text, print(input, runtime.budget));
  std::int64_t words = 0;
  bool inside = false;
  for (std::string_view rest = text.bytes(); !rest.empty();) {
    const Character c = first_character(rest);
    const bool part = is_alpha(c.point) || is_digit(c.point) || c.point == '_';
    words += part && !inside;
    inside = part;
    rest.remove_prefix(c.length);
  }
  return Value(words);
}

constexpr std::array kTextFilters = std::to_array<Builtin>({
    {"upper", changed_filter<upper>},
    {"lower", changed_filter<lower>},
    {"capitalize", changed_filter<capitalized>},
    {"title", changed_filter<title_words>},
    {"string", changed_filter<unchanged>},
    {"safe", changed_filter<safe>},
    {"trim", trim_filter},
    {"replace", replace_filter},
    {"escape", escape_filter},
    {"e", escape_filter},
    {"urlencode", urlencode_filter},
    {"format", format_filter},
    {"wordcount", wordcount_filter},
});

}  // namespace

std::span<const Builtin> text_filters() {
  return kTextFilters;
}

}  // namespace cairn::jinja
