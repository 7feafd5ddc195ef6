// SPDX-License-Identifier: Apache-2.0
// Filters on lists as they are.
#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "cairn/text/jinja/builtins.h"
#include "cairn/text/jinja/operators.h"
#include "cairn/text/jinja/print.h"

namespace cairn::jinja {
namespace {

constexpr std::int64_t kMaxParts = 100'000;

Result<Value> generator(Values items) {
  return make_sequence(SequenceKind::kGenerator, std::move(items));
}

Result<Value> length_filter(Runtime& /*runtime*/, const Value& input, const Arguments& arguments) {
  CAIRN_TRY_VOID(Bound::bind("length", arguments, {}));
  CAIRN_TRY(const std::size_t size, length(input));
  return Value(static_cast<std::int64_t>(size));
}

// A generator gives up one item alone.
Result<Value> first_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  CAIRN_TRY_VOID(Bound::bind("first", arguments, {}));
  CAIRN_TRY(Values items, iterate(input, runtime.budget));
  if (items.empty()) return Value::undefined("there is no first item, the sequence is empty");
  return std::move(items.front());
}

Result<Value> last_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  CAIRN_TRY_VOID(Bound::bind("last", arguments, {}));
  const Sequence* sequence = input.sequence();
  if (sequence != nullptr && sequence->kind == SequenceKind::kGenerator) return refused("a generator has no last item");
  CAIRN_TRY(Values items, iterate(input, runtime.budget));
  if (items.empty()) return Value::undefined("there is no last item, the sequence is empty");
  return std::move(items.back());
}

Result<Value> list_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  CAIRN_TRY_VOID(Bound::bind("list", arguments, {}));
  CAIRN_TRY(Values items, iterate(input, runtime.budget));
  return make_list(std::move(items));
}

Result<Value> items_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  CAIRN_TRY_VOID(Bound::bind("items", arguments, {}));
  if (input.is_undefined()) return generator({});
  if (!input.is_dict()) return refused("items takes a dict");
  CAIRN_TRY_VOID(runtime.budget.values(input.dict()->size() * 4));
  Values pairs;
  for (const Dict::Item& item : input.dict()->items()) {
    CAIRN_TRY(Value pair, make_tuple({item.key, item.value}));
    pairs.push_back(std::move(pair));
  }
  return generator(std::move(pairs));
}

Result<Value> reverse_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  CAIRN_TRY_VOID(Bound::bind("reverse", arguments, {}));
  CAIRN_TRY(Values items, iterate(input, runtime.budget));
  std::ranges::reverse(items);
  if (!input.is_text()) return generator(std::move(items));
  Text text;
  for (const Value& item : items) text.append(*item.text());
  return Value(std::move(text));
}

Result<Value> join_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("join", arguments, {"d", "attribute"}));
  Text separator;
  if (bound.get(0) != nullptr) {
    CAIRN_TRY(separator, print(bound.at(0), runtime.budget));
  }
  CAIRN_TRY(const Values items, iterate(input, runtime.budget));
  Text text;
  for (std::size_t i = 0; i < items.size(); ++i) {
    Value item = items[i];
    if (bound.get(1) != nullptr && !bound.at(1).is_none()) {
      CAIRN_TRY(item, value_at_path(item, bound.at(1)));
    }
    CAIRN_TRY(const Text part, print(item, runtime.budget));
    CAIRN_TRY_VOID(runtime.budget.bytes(separator.size() + part.size()));
    if (i > 0) text.append(separator);
    text.append(part);
  }
  return Value(std::move(text));
}

Result<Value> sum_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("sum", arguments, {"attribute", "start"}));
  CAIRN_TRY(const Values items, iterate(input, runtime.budget));
  Value total = bound.get(1) != nullptr ? bound.at(1) : Value(std::int64_t{0});
  if (total.is_text()) return refused("sum does not join strings");
  for (Value item : items) {
    if (bound.get(0) != nullptr && !bound.at(0).is_none()) {
      CAIRN_TRY(item, value_at_path(item, bound.at(0)));
    }
    CAIRN_TRY(total, arithmetic(Operator::kAdd, total, item, runtime.budget));
  }
  return total;
}

Result<Value> batch_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("batch", arguments, {"linecount", "fill_with"}, 1));
  CAIRN_TRY(const std::int64_t size, bound.integer(0, 1));
  if (size < 1 || size > kMaxParts)
    return refused("batch: the size must be between 1 and " + std::to_string(kMaxParts));
  CAIRN_TRY(const Values items, iterate(input, runtime.budget));
  Values batches, part;
  const auto close = [&]() -> Status {
    CAIRN_TRY(Value made, make_list(std::exchange(part, {})));
    batches.push_back(std::move(made));
    return {};
  };
  for (const Value& item : items) {
    if (part.size() == static_cast<std::size_t>(size)) CAIRN_TRY_VOID(close());
    part.push_back(item);
  }
  if (!part.empty()) {
    if (bound.get(1) != nullptr && !bound.at(1).is_none()) {
      CAIRN_TRY_VOID(runtime.budget.values(static_cast<std::size_t>(size)));
      part.resize(static_cast<std::size_t>(size), bound.at(1));
    }
    CAIRN_TRY_VOID(close());
  }
  return generator(std::move(batches));
}

Result<Value> slices_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("slice", arguments, {"slices", "fill_with"}, 1));
  CAIRN_TRY(const std::int64_t wanted, bound.integer(0, 1));
  if (wanted < 1 || wanted > kMaxParts)
    return refused("slice: the number must be between 1 and " + std::to_string(kMaxParts));
  CAIRN_TRY(const Values items, iterate(input, runtime.budget));
  const auto count = static_cast<std::size_t>(wanted);
  CAIRN_TRY_VOID(runtime.budget.values(count * 4));
  const std::size_t least = items.size() / count, longer = items.size() % count;
  Values parts;
  std::size_t at = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t size = least + (i < longer ? 1 : 0);
    Values part(items.begin() + static_cast<std::ptrdiff_t>(at),
                items.begin() + static_cast<std::ptrdiff_t>(at + size));
    at += size;
    if (bound.get(1) != nullptr && !bound.at(1).is_none() && i >= longer) part.push_back(bound.at(1));
    CAIRN_TRY(Value made, make_list(std::move(part)));
    parts.push_back(std::move(made));
  }
  return generator(std::move(parts));
}

constexpr std::array kSequenceFilters = std::to_array<Builtin>({
    {"length", length_filter},
    {"count", length_filter},
    {"first", first_filter},
    {"last", last_filter},
    {"list", list_filter},
    {"items", items_filter},
    {"reverse", reverse_filter},
    {"join", join_filter},
    {"sum", sum_filter},
    {"batch", batch_filter},
    {"slice", slices_filter},
});

}  // namespace

std::span<const Builtin> sequence_filters() {
  return kSequenceFilters;
}

}  // namespace cairn::jinja
