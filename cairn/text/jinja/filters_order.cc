// SPDX-License-Identifier: Apache-2.0
// Filters that compare the items of a list. Upper and lower case are the same to them unless they are told otherwise.
#include <algorithm>
#include <array>
#include <numeric>
#include <optional>
#include <string>
#include <utility>

#include "cairn/text/jinja/builtins.h"
#include "cairn/text/jinja/operators.h"
#include "cairn/text/jinja/text_functions.h"

namespace cairn::jinja {
namespace {

Value without_case(const Value& value, bool case_sensitive) {
  return case_sensitive || !value.is_text() ? value : Value(lower(*value.text()));
}

// What each item is compared by: itself, or what it has at the attribute.
Result<Values> keys_of(const Values& items, const Value* attribute, bool case_sensitive, Budget& budget) {
  Values keys;
  keys.reserve(items.size());
  for (const Value& item : items) {
    Value key = item;
    if (attribute != nullptr && !attribute->is_none()) {
      CAIRN_TRY(key, value_at_path(item, *attribute));
    }
    CAIRN_TRY_VOID(budget.values(1 + (key.is_text() ? key.text()->size() / 32 : 0)));
    keys.push_back(without_case(key, case_sensitive));
  }
  return keys;
}

// The places of the keys in their order; equal ones keep theirs.
Result<std::vector<std::size_t>> sorted_places(const Values& keys, bool reverse, Budget& budget) {
  std::vector<std::size_t> places(keys.size());
  std::iota(places.begin(), places.end(), std::size_t{0});
  Status status;
  std::ranges::stable_sort(places, [&](std::size_t a, std::size_t b) {
    if (!status) return false;
    const Result<bool> before = reverse ? less(keys[b], keys[a]) : less(keys[a], keys[b]);
    if (!before) status = std::unexpected(before.error());
    if (status) status = budget.steps(1);
    return before && *before;
  });
  CAIRN_TRY_VOID(status);
  return places;
}

Values picked(const Values& items, const std::vector<std::size_t>& places) {
  Values result;
  result.reserve(places.size());
  for (const std::size_t place : places) result.push_back(items[place]);
  return result;
}

Result<Value> sort_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("sort", arguments, {"reverse", "case_sensitive", "attribute"}));
  CAIRN_TRY(const Values items, iterate(input, runtime.budget));
  std::vector<Values> keys;
  if (bound.get(2) != nullptr && bound.at(2).is_text()) {  // "a,b": by a, then by b
    const std::vector<Text> names = split(*bound.at(2).text(), ",", -1, false);
    Values tuples(items.size());
    std::vector<Values> columns;
    for (const Text& name : names) {
      const Value path(name);
      CAIRN_TRY(Values column, keys_of(items, &path, bound.flag(1, false), runtime.budget));
      columns.push_back(std::move(column));
    }
    for (std::size_t i = 0; i < items.size(); ++i) {
      Values row;
      for (const Values& column : columns) row.push_back(column[i]);
      CAIRN_TRY(tuples[i], make_list(std::move(row)));
    }
    keys.push_back(std::move(tuples));
  } else {
    CAIRN_TRY(Values simple, keys_of(items, bound.get(2), bound.flag(1, false), runtime.budget));
    keys.push_back(std::move(simple));
  }
  CAIRN_TRY(const auto places, sorted_places(keys.front(), bound.flag(0, false), runtime.budget));
  return make_list(picked(items, places));
}

Result<Value> dictsort_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("dictsort", arguments, {"case_sensitive", "by", "reverse"}));
  CAIRN_TRY(const Text by, bound.text(1, Text::trusted("key")));
  if (by.bytes() != "key" && by.bytes() != "value") return refused("dictsort sorts by key or value");
  if (input.is_undefined()) return undefined_error(input);
  if (!input.is_dict()) return refused("dictsort takes a dict");
  Values pairs, compared;
  for (const Dict::Item& item : input.dict()->items()) {
    CAIRN_TRY(Value pair, make_tuple({item.key, item.value}));
    pairs.push_back(std::move(pair));
    compared.push_back(by.bytes() == "key" ? item.key : item.value);
  }
  CAIRN_TRY_VOID(runtime.budget.values(pairs.size() * 4));
  CAIRN_TRY(const Values keys, keys_of(compared, nullptr, bound.flag(0, false), runtime.budget));
  CAIRN_TRY(const auto places, sorted_places(keys, bound.flag(2, false), runtime.budget));
  return make_list(picked(pairs, places));
}

Result<Value> unique_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("unique", arguments, {"case_sensitive", "attribute"}));
  CAIRN_TRY(const Values items, iterate(input, runtime.budget));
  CAIRN_TRY(const Values keys, keys_of(items, bound.get(1), bound.flag(0, false), runtime.budget));
  Dict seen;
  Values kept;
  for (std::size_t i = 0; i < items.size(); ++i) {
    CAIRN_TRY_VOID(runtime.budget.steps(keys[i].is_text() ? 1 : seen.size() + 1));
    if (seen.find(keys[i]) != nullptr) continue;
    CAIRN_TRY_VOID(seen.set(keys[i], Value()));
    kept.push_back(items[i]);
  }
  return make_sequence(SequenceKind::kGenerator, std::move(kept));
}

template <bool largest>
Result<Value> extreme_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind(largest ? "max" : "min", arguments, {"case_sensitive", "attribute"}));
  CAIRN_TRY(const Values items, iterate(input, runtime.budget));
  if (items.empty()) return Value::undefined("there is no item, the sequence is empty");
  CAIRN_TRY(const Values keys, keys_of(items, bound.get(1), bound.flag(0, false), runtime.budget));
  std::size_t best = 0;
  for (std::size_t i = 1; i < items.size(); ++i) {
    CAIRN_TRY(const bool better, largest ? less(keys[best], keys[i]) : less(keys[i], keys[best]));
    if (better) best = i;
  }
  return items[best];
}

Result<Value> groupby_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("groupby", arguments, {"attribute", "default", "case_sensitive"}, 1));
  CAIRN_TRY(const Values items, iterate(input, runtime.budget));
  Values whole_keys, keys;
  for (const Value& item : items) {
    CAIRN_TRY(const Value key, value_at_path(item, bound.at(0), bound.get(1)));
    whole_keys.push_back(key);
    keys.push_back(without_case(key, bound.flag(2, false)));
  }
  CAIRN_TRY_VOID(runtime.budget.values(items.size() * 4));
  CAIRN_TRY(const auto places, sorted_places(keys, false, runtime.budget));
  Values groups;
  for (std::size_t i = 0; i < places.size();) {
    const std::size_t begin = i;
    Values members;
    for (; i < places.size() && equal(keys[places[begin]], keys[places[i]]); ++i) members.push_back(items[places[i]]);
    CAIRN_TRY(Value list, make_list(std::move(members)));
    CAIRN_TRY(Value group, make_sequence(SequenceKind::kGroup, {whole_keys[places[begin]], std::move(list)}));
    groups.push_back(std::move(group));
  }
  return make_list(std::move(groups));
}

constexpr std::array kOrderFilters = std::to_array<Builtin>({
    {"sort", sort_filter},
    {"dictsort", dictsort_filter},
    {"unique", unique_filter},
    {"min", extreme_filter<false>},
    {"max", extreme_filter<true>},
    {"groupby", groupby_filter},
});

}  // namespace

std::span<const Builtin> order_filters() {
  return kOrderFilters;
}

}  // namespace cairn::jinja
