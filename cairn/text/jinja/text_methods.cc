// SPDX-License-Identifier: Apache-2.0
// Methods of strings that make strings.
#include <algorithm>
#include <array>
#include <utility>

#include "cairn/text/jinja/builtins.h"
#include "cairn/text/jinja/operators.h"
#include "cairn/text/jinja/print.h"
#include "cairn/text/jinja/text_functions.h"
#include "cairn/text/jinja/work.h"

namespace cairn::jinja {
namespace {

template <Text (*change)(const Text&)>
Result<Value> case_method(Runtime& runtime, const Value& self, const Arguments& arguments) {
  CAIRN_TRY_VOID(Bound::bind("this method", arguments, {}));
  CAIRN_TRY_VOID(runtime.budget.bytes(self.text()->size()));
  return Value(change(*self.text()));
}

template <bool left, bool right>
Result<Value> strip_method(Runtime& runtime, const Value& self, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("strip", arguments, {"chars"}));
  CAIRN_TRY(const Text characters, bound.text(0, {}));
  CAIRN_TRY_VOID(runtime.budget.bytes(self.text()->size()));
  const bool given = bound.get(0) != nullptr && !bound.at(0).is_none();
  return Value(strip(*self.text(), given ? &characters : nullptr, left, right));
}

Result<Value> text_list(std::vector<Text> parts, Runtime& runtime) {
  CAIRN_TRY_VOID(runtime.budget.values(parts.size() * 4));
  Values items;
  items.reserve(parts.size());
  for (Text& part : parts) items.emplace_back(std::move(part));
  return make_list(std::move(items));
}

template <bool from_right>
Result<Value> split_method(Runtime& runtime, const Value& self, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("split", arguments, {"sep", "maxsplit"}));
  CAIRN_TRY(const Text separator, bound.text(0, {}));
  CAIRN_TRY(const std::int64_t limit, bound.integer(1, -1));
  CAIRN_TRY_VOID(runtime.budget.bytes(self.text()->size()));
  if (bound.get(0) == nullptr || bound.at(0).is_none()) {
    return text_list(split_at_spaces(*self.text(), limit, from_right), runtime);
  }
  if (separator.empty()) return refused("split(): the separator is empty");
  return text_list(split(*self.text(), separator.bytes(), limit, from_right), runtime);
}

Result<Value> splitlines_method(Runtime& runtime, const Value& self, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("splitlines", arguments, {"keepends"}));
  CAIRN_TRY_VOID(runtime.budget.bytes(self.text()->size()));
  return text_list(split_lines(*self.text(), bound.flag(0, false)), runtime);
}

template <bool from_right>
Result<Value> partition_method(Runtime& runtime, const Value& self, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("partition", arguments, {"sep"}, 1));
  CAIRN_TRY(const Text separator, bound.text(0, {}));
  if (separator.empty()) return refused("partition(): the separator is empty");
  const Text& text = *self.text();
  CAIRN_TRY_VOID(runtime.budget.bytes(text.size()));
  const std::size_t at =
      from_right ? find_last(text.bytes(), separator.bytes()) : find_first(text.bytes(), separator.bytes());
  if (at == std::string::npos) {
    return make_tuple(from_right ? Values{Text(), Text(), self} : Values{self, Text(), Text()});
  }
  const std::size_t end = at + separator.size();
  return make_tuple({text.slice(0, at), text.slice(at, end), text.slice(end, text.size())});
}

Result<Value> replace_method(Runtime& runtime, const Value& self, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("replace", arguments, {"old", "new", "count"}, 2));
  CAIRN_TRY(const Text old, bound.text(0, {}));
  CAIRN_TRY(const Text replacement, bound.text(1, {}));
  CAIRN_TRY(const std::int64_t limit, bound.integer(2, -1));
  CAIRN_TRY(Text result, replace(*self.text(), old.bytes(), replacement, limit, runtime.budget));
  return Value(std::move(result));
}

template <bool front>
Result<Value> without_affix(Runtime& runtime, const Value& self, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("removeprefix", arguments, {"affix"}, 1));
  CAIRN_TRY(const Text affix, bound.text(0, {}));
  const Text& text = *self.text();
  CAIRN_TRY_VOID(runtime.budget.bytes(text.size()));
  const bool has = front ? text.bytes().starts_with(affix.bytes()) : text.bytes().ends_with(affix.bytes());
  if (!has) return self;
  return Value(front ? text.slice(affix.size(), text.size()) : text.slice(0, text.size() - affix.size()));
}

template <Align align>
Result<Value> pad_method(Runtime& runtime, const Value& self, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("ljust", arguments, {"width", "fillchar"}, 1));
  CAIRN_TRY(const std::int64_t width, bound.integer(0, 0));
  CAIRN_TRY(const Text fill, bound.text(1, Text::trusted(" ")));
  if (character_count(fill.bytes()) != 1) return refused("the fill character must be exactly one character");
  CAIRN_TRY(Text result, padded(*self.text(), width, fill, align, runtime.budget));
  return Value(std::move(result));
}

Result<Value> zfill_method(Runtime& runtime, const Value& self, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("zfill", arguments, {"width"}, 1));
  CAIRN_TRY(const std::int64_t width, bound.integer(0, 0));
  const Text& text = *self.text();
  const bool has_sign = text.bytes().starts_with('-') || text.bytes().starts_with('+');
  const Text digits = text.slice(has_sign ? 1 : 0, text.size());
  CAIRN_TRY(Text filled,
            padded(digits, has_sign ? width - 1 : width, Text::trusted("0"), Align::kRight, runtime.budget));
  Text result = text.slice(0, has_sign ? 1 : 0);
  return Value(std::move(result.append(filled)));
}

Result<Value> join_method(Runtime& runtime, const Value& self, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("join", arguments, {"iterable"}, 1));
  CAIRN_TRY(const Values items, iterate(bound.at(0), runtime.budget));
  Text result;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!items[i].is_text()) return refused("join() takes strings alone");
    CAIRN_TRY_VOID(runtime.budget.bytes(items[i].text()->size() + self.text()->size()));
    if (i > 0) result.append(*self.text());
    result.append(*items[i].text());
  }
  return Value(std::move(result));
}

// "{} {0} {name}" with the values in order or by name, without conversions and formats.
Result<Value> format_method(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Text& text = *self.text();
  const std::string& bytes = text.bytes();
  Text result;
  std::size_t automatic = 0, numbered = 0;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t brace = std::min(bytes.find_first_of("{}", at), bytes.size());
    result.append(text, at, brace);
    at = brace;
    if (at == bytes.size()) break;
    if (at + 1 < bytes.size() && bytes[at + 1] == bytes[at]) {
      result.append(text, at, at + 1);
      at += 2;
      continue;
    }
    const std::size_t end = bytes.find('}', at);
    if (bytes[at] == '}' || end == std::string::npos) return refused("format(): a single brace");
    const std::string field = bytes.substr(at + 1, end - at - 1);
    at = end + 1;
    const bool digits = field.find_first_not_of("0123456789") == std::string::npos;
    if (field.find_first_of(".[:!{") != std::string::npos || (digits && field.size() > 4)) {
      return refused("format(): the field '{" + field + "}' is not supported");
    }
    const Value* value = nullptr;
    if (digits) {
      if (!field.empty()) ++numbered;
      if (numbered > 0 && (field.empty() || automatic > 0)) return refused("format(): '{}' beside '{0}'");
      const std::size_t index = field.empty() ? automatic++ : std::stoul(field);
      if (index < arguments.positional.size()) value = &arguments.positional[index];
    } else {
      value = arguments.find(field);
    }
    if (value == nullptr) return refused("format(): nothing is given for '{" + field + "}'");
    CAIRN_TRY(const Text printed, print(*value, runtime.budget));
    result.append(printed);
    CAIRN_TRY_VOID(runtime.budget.bytes(printed.size()));
  }
  return Value(std::move(result));
}

constexpr std::array kTextMethods = std::to_array<Builtin>({
    {"upper", case_method<upper>},
    {"lower", case_method<lower>},
    {"casefold", case_method<lower>},
    {"capitalize", case_method<capitalized>},
    {"title", case_method<titled>},
    {"swapcase", case_method<swapped_case>},
    {"strip", strip_method<true, true>},
    {"lstrip", strip_method<true, false>},
    {"rstrip", strip_method<false, true>},
    {"split", split_method<false>},
    {"rsplit", split_method<true>},
    {"splitlines", splitlines_method},
    {"partition", partition_method<false>},
    {"rpartition", partition_method<true>},
    {"replace", replace_method},
    {"removeprefix", without_affix<true>},
    {"removesuffix", without_affix<false>},
    {"ljust", pad_method<Align::kLeft>},
    {"rjust", pad_method<Align::kRight>},
    {"center", pad_method<Align::kCenter>},
    {"zfill", zfill_method},
    {"join", join_method},
    {"format", format_method},
});

}  // namespace

std::span<const Builtin> text_methods() {
  return kTextMethods;
}

}  // namespace cairn::jinja
