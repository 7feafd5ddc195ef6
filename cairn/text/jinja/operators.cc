// SPDX-License-Identifier: Apache-2.0
#include "cairn/text/jinja/operators.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "cairn/text/jinja/print.h"
#include "cairn/text/jinja/text_functions.h"
#include "cairn/text/jinja/work.h"

namespace cairn::jinja {
namespace {

std::unexpected<Error> wrong_types(std::string_view op, const Value& left, const Value& right) {
  if (left.is_undefined()) return undefined_error(left);
  if (right.is_undefined()) return undefined_error(right);
  return refused("'" + std::string(op) + "' does not go with '" + std::string(left.type_name()) + "' and '" +
                 std::string(right.type_name()) + "'");
}

std::unexpected<Error> too_large() {
  return refused("a whole number has more than 64 bits");
}

std::unexpected<Error> by_zero() {
  return refused("division by zero");
}

std::int64_t floor_divide(std::int64_t left, std::int64_t right) {
  const std::int64_t quotient = left / right;
  return left % right != 0 && (left < 0) != (right < 0) ? quotient - 1 : quotient;
}

double floor_modulo(double left, double right) {
  const double rest = std::fmod(left, right);
  if (rest == 0) return std::copysign(0.0, right);
  return (rest < 0) != (right < 0) ? rest + right : rest;
}

double floor_divide(double left, double right) {
  const double quotient = (left - floor_modulo(left, right)) / right;
  if (quotient == 0) return std::copysign(0.0, left / right);
  const double floored = std::floor(quotient);
  return quotient - floored > 0.5 ? floored + 1 : floored;
}

Result<Value> whole_power(std::int64_t base, std::int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) return by_zero();
    return Value(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  std::int64_t result = 1;
  for (std::int64_t square = base; exponent > 0; exponent >>= 1) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, square, &result)) return too_large();
    if (exponent > 1 && __builtin_mul_overflow(square, square, &square)) return too_large();
  }
  return Value(result);
}

Result<Value> whole_arithmetic(Operator op, std::int64_t left, std::int64_t right) {
  std::int64_t result = 0;
  switch (op) {
    case Operator::kAdd:
      if (__builtin_add_overflow(left, right, &result)) return too_large();
      return Value(result);
    case Operator::kSubtract:
      if (__builtin_sub_overflow(left, right, &result)) return too_large();
      return Value(result);
    case Operator::kMultiply:
      if (__builtin_mul_overflow(left, right, &result)) return too_large();
      return Value(result);
    case Operator::kDivide:
      if (right == 0) return by_zero();
      return Value(static_cast<double>(left) / static_cast<double>(right));
    case Operator::kFloorDivide:
      if (right == 0) return by_zero();
      if (right == -1) return whole_arithmetic(Operator::kSubtract, 0, left);
      return Value(floor_divide(left, right));
    case Operator::kModulo:
      if (right == 0) return by_zero();
      if (right == -1) return Value(std::int64_t{0});
      return Value(left - floor_divide(left, right) * right);
    default: return whole_power(left, right);
  }
}

Result<Value> real_arithmetic(Operator op, double left, double right) {
  switch (op) {
    case Operator::kAdd: return Value(left + right);
    case Operator::kSubtract: return Value(left - right);
    case Operator::kMultiply: return Value(left * right);
    case Operator::kDivide:
      if (right == 0) return by_zero();
      return Value(left / right);
    case Operator::kFloorDivide:
      if (right == 0) return by_zero();
      return Value(floor_divide(left, right));
    case Operator::kModulo:
      if (right == 0) return by_zero();
      return Value(floor_modulo(left, right));
    default: {
      if (left == 0 && right < 0) return by_zero();
      if (left < 0 && right != std::floor(right)) return refused("a root of a negative number");
      const double power = std::pow(left, right);
      if (std::isinf(power) && !std::isinf(left) && !std::isinf(right)) return refused("a number is too large");
      return Value(power);
    }
  }
}

Result<Value> joined(const Text& left, const Text& right, Budget& budget) {
  CAIRN_TRY_VOID(budget.bytes(left.size() + right.size()));
  if (!left.is_markup() && !right.is_markup()) {
    Text sum = left;
    return Value(std::move(sum.append(right)));
  }
  CAIRN_TRY(Text sum, escaped(left, budget));
  CAIRN_TRY(const Text rest, escaped(right, budget));
  return Value(std::move(sum.append(rest)));
}

Result<Value> repeated(const Value& value, std::int64_t times, Budget& budget) {
  const std::size_t count = times > 0 ? static_cast<std::size_t>(times) : 0;
  const std::size_t size = value.is_text() ? value.text()->size() : value.sequence()->items.size();
  const bool fits = size == 0 || count <= std::numeric_limits<std::size_t>::max() / size;
  const std::size_t whole = fits ? size * count : std::numeric_limits<std::size_t>::max();
  if (const Text* text = value.text()) {
    CAIRN_TRY_VOID(budget.bytes(whole));
    Text result, doubled = *text;
    for (std::size_t left = size > 0 ? count : 0; left > 0; left /= 2) {
      if (left % 2 != 0) result.append(doubled);
      if (left > 1) doubled.append(Text(doubled));
    }
    return Value(std::move(result));
  }
  CAIRN_TRY_VOID(budget.values(whole));
  Values items;
  items.reserve(whole);
  const Values& once = value.sequence()->items;
  for (std::size_t i = 0; i < count && size > 0; ++i) items.insert(items.end(), once.begin(), once.end());
  return make_sequence(value.sequence()->kind, std::move(items));
}

bool is_list_or_tuple(const Value& value) {
  const Sequence* sequence = value.sequence();
  return sequence != nullptr && sequence->is_indexed() && sequence->kind != SequenceKind::kRange;
}

SequenceKind plain_kind(SequenceKind kind) {
  return kind == SequenceKind::kGroup ? SequenceKind::kTuple : kind;
}

// -1, 0 or 1; nothing for what has no order, as NaN.
template <class T>
std::optional<int> order(const T& left, const T& right) {
  if (left < right) return -1;
  if (right < left) return 1;
  return left == right ? std::optional(0) : std::nullopt;
}

std::optional<int> number_order(const Value& left, const Value& right) {
  const auto a = left.integer(), b = right.integer();
  if (a && b) return order(*a, *b);
  return order(*left.number(), *right.number());
}

bool equal_items(const Values& left, const Values& right) {
  return std::ranges::equal(left, right, [](const Value& a, const Value& b) { return equal(a, b); });
}

bool equal_dicts(const Dict& left, const Dict& right) {
  if (left.size() != right.size()) return false;
  return std::ranges::all_of(left.items(), [&](const Dict::Item& item) {
    const Value* other = right.find(item.key);
    return other != nullptr && equal(item.value, *other);
  });
}

Result<bool> ordered(Operator op, const Value& left, const Value& right);

Result<bool> ordered_items(Operator op, const Values& left, const Values& right) {
  for (std::size_t i = 0; i < std::min(left.size(), right.size()); ++i) {
    if (!equal(left[i], right[i])) return ordered(op, left[i], right[i]);
  }
  const Value a(static_cast<std::int64_t>(left.size())), b(static_cast<std::int64_t>(right.size()));
  return ordered(op, a, b);
}

constexpr std::string_view kOrderNames[] = {"<", "<=", ">", ">="};

Result<bool> ordered(Operator op, const Value& left, const Value& right) {
  const auto holds = [&](std::optional<int> order) {
    if (!order) return false;
    if (op == Operator::kLess) return *order < 0;
    if (op == Operator::kLessEqual) return *order <= 0;
    return op == Operator::kGreater ? *order > 0 : *order >= 0;
  };
  if (left.is_number() && right.is_number()) return holds(number_order(left, right));
  // The order of UTF-8 bytes is that of the characters.
  if (left.is_text() && right.is_text()) {
    count_bytes(std::min(left.text()->size(), right.text()->size()));
    return holds(left.text()->bytes().compare(right.text()->bytes()));
  }
  if (is_list_or_tuple(left) && is_list_or_tuple(right) &&
      plain_kind(left.sequence()->kind) == plain_kind(right.sequence()->kind)) {
    return ordered_items(op, left.sequence()->items, right.sequence()->items);
  }
  return wrong_types(kOrderNames[static_cast<int>(op) - static_cast<int>(Operator::kLess)], left, right);
}

}  // namespace

std::unexpected<Error> undefined_error(const Value& value) {
  return refused(value.why_undefined());
}

bool equal(const Value& left, const Value& right) {
  if (!count_steps(1)) return false;
  if (left.is_number() && right.is_number()) return number_order(left, right) == 0;
  if (left.is_text() && right.is_text()) {
    if (left.text()->size() != right.text()->size() || !count_text(left)) return false;
    return left.text()->bytes() == right.text()->bytes();
  }
  if (left.is_none() || left.is_undefined()) return left.type_name() == right.type_name();
  if (left.is_dict() && right.is_dict()) return equal_dicts(*left.dict(), *right.dict());
  if (const Sequence* a = left.sequence(), *b = right.sequence(); a != nullptr && b != nullptr) {
    if (a == b) return true;
    if (plain_kind(a->kind) != plain_kind(b->kind) || !a->is_indexed()) return false;
    return equal_items(a->items, b->items);
  }
  if (left.space() != nullptr) return left.space() == right.space();
  if (left.loop() != nullptr) return left.loop() == right.loop();
  return left.callable() != nullptr && left.callable() == right.callable();
}

Result<bool> less(const Value& left, const Value& right) {
  return ordered(Operator::kLess, left, right);
}

Result<bool> contains(const Value& container, const Value& item) {
  if (const Text* text = container.text()) {
    if (!item.is_text())
      return refused("'in <string>' needs a string on its left, not " + std::string(item.type_name()));
    if (!count_text(container) || !count_text(item)) return false;
    return find_first(text->bytes(), item.text()->bytes()) != std::string::npos;
  }
  if (const Dict* dict = container.dict()) {
    if (item.is_dict() || (item.is_sequence() && item.sequence()->kind == SequenceKind::kList)) {
      return refused("unhashable type: '" + std::string(item.type_name()) + "'");
    }
    return dict->find(item) != nullptr;
  }
  if (container.is_undefined()) return false;
  const Sequence* sequence = container.sequence();
  if (sequence == nullptr) return refused("'" + std::string(container.type_name()) + "' cannot be searched with 'in'");
  if (sequence->kind == SequenceKind::kGenerator) {
    if (sequence->consumed) return false;
    sequence->consumed = true;
  }
  return std::ranges::any_of(sequence->items, [&](const Value& each) { return equal(each, item); });
}

Result<Value> arithmetic(Operator op, const Value& left, const Value& right, Budget& budget) {
  if (op == Operator::kModulo && left.is_text()) return format_percent(*left.text(), right, budget);
  if (left.is_number() && right.is_number()) {
    const auto a = left.integer(), b = right.integer();
    return a && b ? whole_arithmetic(op, *a, *b) : real_arithmetic(op, *left.number(), *right.number());
  }
  if (op == Operator::kAdd && left.is_text() && right.is_text()) return joined(*left.text(), *right.text(), budget);
  if (op == Operator::kAdd && is_list_or_tuple(left) && is_list_or_tuple(right) &&
      plain_kind(left.sequence()->kind) == plain_kind(right.sequence()->kind)) {
    Values items = left.sequence()->items;
    CAIRN_TRY_VOID(budget.values(items.size() + right.sequence()->items.size()));
    items.insert(items.end(), right.sequence()->items.begin(), right.sequence()->items.end());
    return make_sequence(plain_kind(left.sequence()->kind), std::move(items));
  }
  if (op == Operator::kMultiply) {
    const bool first = left.is_text() || is_list_or_tuple(left);
    const Value &many = first ? left : right, &times = first ? right : left;
    if ((many.is_text() || is_list_or_tuple(many)) && times.integer()) {
      return repeated(many, *times.integer(), budget);
    }
  }
  constexpr std::string_view kNames[] = {"+", "-", "*", "/", "//", "%", "**"};
  return wrong_types(kNames[static_cast<int>(op)], left, right);
}

Result<bool> compare(Operator op, const Value& left, const Value& right) {
  switch (op) {
    case Operator::kEqual: return equal(left, right);
    case Operator::kNotEqual: return !equal(left, right);
    case Operator::kIn: return contains(right, left);
    case Operator::kNotIn: {
      CAIRN_TRY(const bool found, contains(right, left));
      return !found;
    }
    default: return ordered(op, left, right);
  }
}

Result<Value> sign(Operator op, const Value& value) {
  if (const auto whole = value.integer()) {
    if (op == Operator::kPlus) return Value(*whole);
    return whole_arithmetic(Operator::kSubtract, 0, *whole);
  }
  if (value.is_float()) return Value(op == Operator::kNegate ? -*value.number() : *value.number());
  if (value.is_undefined()) return undefined_error(value);
  return refused("'" + std::string(value.type_name()) + "' has no sign");
}

}  // namespace cairn::jinja
