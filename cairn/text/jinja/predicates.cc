// SPDX-License-Identifier: Apache-2.0
// What may stand behind `is`.
#include <algorithm>
#include <array>
#include <utility>

#include "cairn/text/jinja/builtins.h"
#include "cairn/text/jinja/operators.h"
#include "cairn/text/jinja/print.h"

namespace cairn::jinja {
namespace {

template <bool (*holds)(const Value&)>
Result<Value> property_test(Runtime& /*runtime*/, const Value& value, const Arguments& arguments) {
  CAIRN_TRY_VOID(Bound::bind("this test", arguments, {}));
  return Value(holds(value));
}

bool is_defined(const Value& value) {
  return !value.is_undefined();
}
bool is_undefined(const Value& value) {
  return value.is_undefined();
}
bool is_none(const Value& value) {
  return value.is_none();
}
bool is_boolean(const Value& value) {
  return value.is_bool();
}
bool is_true(const Value& value) {
  return value.is_bool() && value.truth();
}
bool is_false(const Value& value) {
  return value.is_bool() && !value.truth();
}
bool is_integer(const Value& value) {
  return value.is_integer();
}
bool is_float(const Value& value) {
  return value.is_float();
}
bool is_number(const Value& value) {
  return value.is_number();
}
bool is_string(const Value& value) {
  return value.is_text();
}
bool is_mapping(const Value& value) {
  return value.is_dict();
}
// What is undefined can be gone through, counted and called, as far as Python can tell beforehand.
bool is_iterable(const Value& value) {
  return value.is_text() || value.is_dict() || value.is_sequence() || value.is_undefined() || value.loop() != nullptr;
}
bool is_sequence(const Value& value) {
  const Sequence* sequence = value.sequence();
  return value.is_text() || value.is_dict() || value.is_undefined() || (sequence != nullptr && sequence->is_indexed());
}
bool is_callable(const Value& value) {
  return value.callable() != nullptr || value.is_undefined() || value.loop() != nullptr;
}
bool is_markup(const Value& value) {
  return value.is_text() && value.text()->is_markup();
}

template <bool odd>
Result<Value> parity_test(Runtime& runtime, const Value& value, const Arguments& arguments) {
  CAIRN_TRY_VOID(Bound::bind("even and odd", arguments, {}));
  CAIRN_TRY(const Value rest, arithmetic(Operator::kModulo, value, Value(std::int64_t{2}), runtime.budget));
  return Value(rest.number() == (odd ? 1 : 0));  // of a string % makes a string
}

Result<Value> divisibleby_test(Runtime& runtime, const Value& value, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("divisibleby", arguments, {"num"}, 1));
  CAIRN_TRY(const Value rest, arithmetic(Operator::kModulo, value, bound.at(0), runtime.budget));
  return Value(rest.number() == 0);
}

template <bool lower>
Result<Value> has_case_test(Runtime& runtime, const Value& value, const Arguments& arguments) {
  CAIRN_TRY(Text text, print(value, runtime.budget));
  const Value printed(std::move(text));
  return find_method(printed, lower ? "islower" : "isupper")(runtime, printed, arguments);
}

template <Operator op>
Result<Value> compared_test(Runtime& /*runtime*/, const Value& value, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("this test", arguments, {"other"}, 1));
  CAIRN_TRY(const bool holds, compare(op, value, bound.at(0)));
  return Value(holds);
}

// The same object, as far as one can tell: Python shares small values and not large ones.
Result<Value> sameas_test(Runtime& /*runtime*/, const Value& value, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("sameas", arguments, {"other"}, 1));
  const Value& other = bound.at(0);
  if (value.is_dict() || value.is_sequence())
    return Value(value.dict() == other.dict() && value.sequence() == other.sequence());
  return Value(value.type_name() == other.type_name() && equal(value, other));
}

template <Function (*find)(std::string_view)>
Result<Value> is_known_test(Runtime& /*runtime*/, const Value& value, const Arguments& arguments) {
  CAIRN_TRY_VOID(Bound::bind("this test", arguments, {}));
  return Value(value.is_text() && find(value.text()->bytes()) != nullptr);
}

constexpr std::array kTests = std::to_array<Builtin>({
    {"defined", property_test<is_defined>},
    {"undefined", property_test<is_undefined>},
    {"none", property_test<is_none>},
    {"boolean", property_test<is_boolean>},
    {"true", property_test<is_true>},
    {"false", property_test<is_false>},
    {"integer", property_test<is_integer>},
    {"float", property_test<is_float>},
    {"number", property_test<is_number>},
    {"string", property_test<is_string>},
    {"mapping", property_test<is_mapping>},
    {"iterable", property_test<is_iterable>},
    {"sequence", property_test<is_sequence>},
    {"callable", property_test<is_callable>},
    {"escaped", property_test<is_markup>},
    {"even", parity_test<false>},
    {"odd", parity_test<true>},
    {"divisibleby", divisibleby_test},
    {"lower", has_case_test<true>},
    {"upper", has_case_test<false>},
    {"sameas", sameas_test},
    {"filter", is_known_test<find_filter>},
    {"test", is_known_test<find_test>},
    {"in", compared_test<Operator::kIn>},
    {"==", compared_test<Operator::kEqual>},
    {"eq", compared_test<Operator::kEqual>},
    {"equalto", compared_test<Operator::kEqual>},
    {"!=", compared_test<Operator::kNotEqual>},
    {"ne", compared_test<Operator::kNotEqual>},
    {"<", compared_test<Operator::kLess>},
    {"lt", compared_test<Operator::kLess>},
    {"lessthan", compared_test<Operator::kLess>},
    {"<=", compared_test<Operator::kLessEqual>},
    {"le", compared_test<Operator::kLessEqual>},
    {">", compared_test<Operator::kGreater>},
    {"gt", compared_test<Operator::kGreater>},
    {"greaterthan", compared_test<Operator::kGreater>},
    {">=", compared_test<Operator::kGreaterEqual>},
    {"ge", compared_test<Operator::kGreaterEqual>},
});

}  // namespace

Function find_test(std::string_view name) {
  const auto found = std::ranges::find(kTests, name, &Builtin::name);
  return found == kTests.end() ? nullptr : found->function;
}

}  // namespace cairn::jinja
