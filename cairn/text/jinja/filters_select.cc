// SPDX-License-Identifier: Apache-2.0
// map, select, reject and attr, and how filters and tests are found by name.
#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "cairn/base/utf8.h"
#include "cairn/text/jinja/builtins.h"
#include "cairn/text/jinja/operators.h"

namespace cairn::jinja {
namespace {

// What is left of the arguments once the first `count` are taken.
Arguments without_first(const Arguments& arguments, std::size_t count) {
  Arguments rest{.positional = {}, .named = arguments.named};
  rest.positional.assign(arguments.positional.begin() + static_cast<std::ptrdiff_t>(count), arguments.positional.end());
  return rest;
}

Result<std::string> name_argument(const Arguments& arguments, std::size_t at, std::string_view what) {
  if (arguments.positional.size() <= at || !arguments.positional[at].is_text()) {
    return refused("the name of a " + std::string(what) + " is missing");
  }
  return arguments.positional[at].text()->bytes();
}

// Whatever is empty, zero or none gives nothing, as in Jinja.
Result<Value> map_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  if (!input.truth()) return make_sequence(SequenceKind::kGenerator, {});
  CAIRN_TRY(const Values items, iterate(input, runtime.budget));
  const Value* attribute = arguments.positional.empty() ? arguments.find("attribute") : nullptr;
  const Value* otherwise = arguments.find("default");
  for (const auto& [name, value] : arguments.named) {
    if (attribute != nullptr && name != "attribute" && name != "default")
      return refused("map has no parameter '" + name + "'");
  }
  Values mapped;
  mapped.reserve(items.size());
  if (attribute == nullptr) {
    CAIRN_TRY(const std::string filter, name_argument(arguments, 0, "filter"));
    const Arguments rest = without_first(arguments, 1);
    for (const Value& item : items) {
      CAIRN_TRY_VOID(runtime.budget.steps(1));
      CAIRN_TRY(Value value, apply_filter(runtime, filter, item, rest));
      mapped.push_back(std::move(value));
    }
    return make_sequence(SequenceKind::kGenerator, std::move(mapped));
  }
  for (const Value& item : items) {
    CAIRN_TRY_VOID(runtime.budget.steps(1));
    CAIRN_TRY(Value value, value_at_path(item, *attribute, otherwise));
    mapped.push_back(std::move(value));
  }
  return make_sequence(SequenceKind::kGenerator, std::move(mapped));
}

// Keeps the items, or those whose attribute, for which the test holds or, with `kept` off, does not.
template <bool by_attribute, bool kept>
Result<Value> selection_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  constexpr std::size_t kTest = by_attribute ? 1 : 0;
  if (!input.truth()) return make_sequence(SequenceKind::kGenerator, {});
  CAIRN_TRY(const Values items, iterate(input, runtime.budget));
  if (by_attribute && arguments.positional.empty()) return refused("the name of an attribute is missing");
  const bool has_test = arguments.positional.size() > kTest;
  std::string test;
  if (has_test) {
    CAIRN_TRY(test, name_argument(arguments, kTest, "test"));
  }
  const Arguments rest = has_test ? without_first(arguments, kTest + 1) : Arguments{};
  Values chosen;
  for (const Value& item : items) {
    CAIRN_TRY_VOID(runtime.budget.steps(1));
    Value value = item;
    if (by_attribute) {
      CAIRN_TRY(value, value_at_path(item, arguments.positional[0]));
    }
    bool holds = value.truth();
    if (has_test) {
      CAIRN_TRY(holds, apply_test(runtime, test, value, rest));
    }
    if (holds == kept) chosen.push_back(item);
  }
  return make_sequence(SequenceKind::kGenerator, std::move(chosen));
}

Result<Value> attr_filter(Runtime& /*runtime*/, const Value& input, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("attr", arguments, {"name"}, 1));
  CAIRN_TRY(const Text name, bound.text(0, {}));
  if (input.is_undefined()) return undefined_error(input);
  // Unlike a dot it does not look at what a dict holds.
  if (input.is_dict() && find_method(input, name.bytes()) == nullptr) {
    return Value::undefined("'dict' has no attribute '" + name.bytes() + "'");
  }
  return attribute_of(input, name.bytes());
}

constexpr std::array kSelectionFilters = std::to_array<Builtin>({
    {"map", map_filter},
    {"select", selection_filter<false, true>},
    {"reject", selection_filter<false, false>},
    {"selectattr", selection_filter<true, true>},
    {"rejectattr", selection_filter<true, false>},
    {"attr", attr_filter},
});

std::unexpected<Error> unknown(std::string_view what, std::string_view name) {
  return refused("the " + std::string(what) + " '" + printable_start(name, 40) + "' is not supported");
}

}  // namespace

std::span<const Builtin> selection_filters() {
  return kSelectionFilters;
}

Function find_filter(std::string_view name) {
  for (const auto& table :
       {text_filters, layout_filters, value_filters, sequence_filters, order_filters, selection_filters}) {
    const auto found = std::ranges::find(table(), name, &Builtin::name);
    if (found != table().end()) return found->function;
  }
  return nullptr;
}

Result<Value> apply_filter(Runtime& runtime, std::string_view name, const Value& input, const Arguments& arguments) {
  const Function filter = find_filter(name);
  if (filter == nullptr) return unknown("filter", name);
  CAIRN_TRY_VOID(count_work(runtime.budget, input, arguments));
  CAIRN_TRY_VOID(runtime.budget.enter());
  Result<Value> result = filter(runtime, input, arguments);
  runtime.budget.leave();
  return result;
}

Result<bool> apply_test(Runtime& runtime, std::string_view name, const Value& value, const Arguments& arguments) {
  const Function test = find_test(name);
  if (test == nullptr) return unknown("test", name);
  CAIRN_TRY_VOID(count_work(runtime.budget, value, arguments));
  CAIRN_TRY_VOID(runtime.budget.enter());
  const Result<Value> result = test(runtime, value, arguments);
  runtime.budget.leave();
  CAIRN_TRY(const Value holds, result);
  return holds.truth();
}

}  // namespace cairn::jinja
