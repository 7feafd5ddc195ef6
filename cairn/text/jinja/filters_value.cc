// SPDX-License-Identifier: Apache-2.0
// Filters on numbers and single values.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <string>

#include "cairn/text/jinja/builtins.h"
#include "cairn/text/jinja/operators.h"
#include "cairn/text/jinja/print.h"
#include "cairn/text/jinja/text_functions.h"

namespace cairn::jinja {
namespace {

Result<Value> default_filter(Runtime& /*runtime*/, const Value& input, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("default", arguments, {"default_value", "boolean"}));
  const bool missing = input.is_undefined() || (bound.flag(1, false) && !input.truth());
  if (!missing) return input;
  return bound.get(0) != nullptr ? bound.at(0) : Value(Text());
}

Result<Value> abs_filter(Runtime& /*runtime*/, const Value& input, const Arguments& arguments) {
  CAIRN_TRY_VOID(Bound::bind("abs", arguments, {}));
  if (input.is_undefined()) return undefined_error(input);
  if (!input.is_number()) return refused("abs takes a number");
  if (input.is_float()) return Value(std::abs(*input.number()));
  return sign(*input.integer() < 0 ? Operator::kNegate : Operator::kPlus, input);
}

// The characters of a number as Python reads it: white space around it, and single underscores between digits.
std::optional<std::string> number_text(const Text& text) {
  const std::string bytes = strip(text, nullptr, true, true).bytes();
  const auto is_alphanumeric = [&](std::size_t at) {
    return at < bytes.size() &&
           (is_alpha(static_cast<unsigned char>(bytes[at])) || is_digit(static_cast<unsigned char>(bytes[at])));
  };
  std::string digits;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != '_') {
      digits += bytes[i];
    } else if (i == 0 || !is_alphanumeric(i - 1) || !is_alphanumeric(i + 1)) {
      return std::nullopt;
    }
  }
  if (digits.starts_with('+') && !digits.starts_with("+-")) digits.erase(0, 1);
  return digits;
}

// Errors: kInvalidArgument beyond 64 bits. Nothing where it is no number.
Result<std::optional<std::int64_t>> whole_number(const Text& text, int base) {
  auto digits = number_text(text);
  if (!digits) return std::nullopt;
  const std::size_t prefix = digits->starts_with('-') ? 1 : 0;
  const char mark =
      digits->size() > prefix + 2 && (*digits)[prefix] == '0' ? static_cast<char>((*digits)[prefix + 1] | 0x20) : '\0';
  const int marked = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
  if (marked != 0 && marked == base) digits->erase(prefix, 2);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(digits->data(), digits->data() + digits->size(), value, base);
  if (end != digits->data() + digits->size() || digits->empty()) return std::nullopt;
  if (error == std::errc::result_out_of_range) return refused("a whole number has more than 64 bits");
  return error == std::errc() ? std::optional(value) : std::nullopt;
}

std::optional<double> real_number(const Text& text) {
  const auto digits = number_text(text);
  if (!digits || digits->empty() || digits->find_first_of("xX") != std::string::npos) return std::nullopt;
  char* end = nullptr;
  const double value = std::strtod(digits->c_str(), &end);
  const bool whole = end == digits->c_str() + digits->size() && digits->find('(') == std::string::npos;
  return whole ? std::optional(value) : std::nullopt;
}

Result<std::optional<std::int64_t>> truncated(double value) {
  if (!std::isfinite(value)) return std::nullopt;
  if (std::abs(value) >= 9.2e18) return refused("a whole number has more than 64 bits");
  return static_cast<std::int64_t>(value);
}

Result<Value> int_filter(Runtime& /*runtime*/, const Value& input, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("int", arguments, {"default", "base"}));
  CAIRN_TRY(const std::int64_t base, bound.integer(1, 10));
  if (base < 2 || base > 36) return refused("int: the base must be between 2 and 36");
  if (input.is_undefined()) return undefined_error(input);
  std::optional<std::int64_t> value = input.integer();
  if (const Text* text = input.text()) {
    CAIRN_TRY(value, whole_number(*text, static_cast<int>(base)));
    if (const auto real = value ? std::nullopt : real_number(*text)) {
      CAIRN_TRY(value, truncated(*real));
    }
  } else if (input.is_float()) {
    CAIRN_TRY(value, truncated(*input.number()));
  }
  if (value) return Value(*value);
  return bound.get(0) != nullptr ? bound.at(0) : Value(std::int64_t{0});
}

Result<Value> float_filter(Runtime& /*runtime*/, const Value& input, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("float", arguments, {"default"}));
  if (input.is_undefined()) return undefined_error(input);
  const std::optional<double> value = input.is_text() ? real_number(*input.text()) : input.number();
  if (value) return Value(*value);
  return bound.get(0) != nullptr ? bound.at(0) : Value(0.0);
}

Result<Value> round_filter(Runtime& /*runtime*/, const Value& input, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("round", arguments, {"precision", "method"}));
  CAIRN_TRY(const std::int64_t places, bound.integer(0, 0));
  CAIRN_TRY(const Text method, bound.text(1, Text::trusted("common")));
  if (input.is_undefined()) return undefined_error(input);
  if (!input.is_number()) return refused("round takes a number");
  if (places < -18 || places > 300) return refused("round: the precision must be between -18 and 300");
  const double value = *input.number(), scale = std::pow(10.0, static_cast<double>(places));
  if (method.bytes() == "ceil") return Value(std::ceil(value * scale) / scale);
  if (method.bytes() == "floor") return Value(std::floor(value * scale) / scale);
  if (method.bytes() != "common") return refused("round: the method must be common, ceil or floor");
  if (const auto whole = input.integer(); whole && places >= 0) return Value(*whole);
  if (!std::isfinite(value)) return input;
  if (places >= 0) return Value(std::strtod(fixed_text(value, static_cast<int>(places)).c_str(), nullptr));
  const double rounded = std::nearbyint(value * scale) / scale;
  if (input.is_float()) return Value(rounded);
  return Value(static_cast<std::int64_t>(rounded));
}

constexpr std::array kValueFilters = std::to_array<Builtin>({
    {"default", default_filter},
    {"d", default_filter},
    {"abs", abs_filter},
    {"int", int_filter},
    {"float", float_filter},
    {"round", round_filter},
});

}  // namespace

std::span<const Builtin> value_filters() {
  return kValueFilters;
}

}  // namespace cairn::jinja
