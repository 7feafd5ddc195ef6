// SPDX-License-Identifier: Apache-2.0
// Python's operators on values.
#pragma once

#include <cstdint>

#include "cairn/base/result.h"
#include "cairn/text/jinja/budget.h"
#include "cairn/text/jinja/value.h"

namespace cairn::jinja {

enum class Operator : std::uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn,
  kNegate,
  kPlus,
  kNot
};

// `==`: never an error. It counts its work, as lists that share their items can stand for more of them than could ever
// be compared, and is false once the steps are used up.
bool equal(const Value& left, const Value& right);

// The errors of everything below are kInvalidArgument: types that do not go together, division by zero, numbers beyond
// 64 bits, a limit that is reached, and something that is undefined.

// `left < right`.
Result<bool> less(const Value& left, const Value& right);
// `item in container`.
Result<bool> contains(const Value& container, const Value& item);
// + - * / // % **
Result<Value> arithmetic(Operator op, const Value& left, const Value& right, Budget& budget);
// == != < <= > >= in not in
Result<bool> compare(Operator op, const Value& left, const Value& right);
// -x, +x
Result<Value> sign(Operator op, const Value& value);

// `container[begin:end:step]`; bounds that are None are left out.
Result<Value> slice(const Value& container, const Value& begin, const Value& end, const Value& step, Budget& budget);
// `text[index]` of characters and `list[index]`; nothing where there is no such item.
std::optional<Value> item_at(const Value& container, std::int64_t index);

// What a for loop goes through: items, keys, characters. Uses up a generator.
Result<Values> iterate(const Value& value, Budget& budget);
// `len(value)`.
Result<std::size_t> length(const Value& value);

// The error for using something undefined.
std::unexpected<Error> undefined_error(const Value& value);

}  // namespace cairn::jinja
