// SPDX-License-Identifier: Apache-2.0
#include "cairn/text/jinja/value.h"

#include <algorithm>

#include "cairn/text/jinja/budget.h"
#include "cairn/text/jinja/operators.h"
#include "cairn/text/jinja/work.h"

namespace cairn::jinja {
namespace {

constexpr std::string_view kSequenceNames[] = {"list",      "tuple",       "tuple",      "range",
                                               "dict_keys", "dict_values", "dict_items", "generator"};

Status check_nesting(std::size_t nesting) {
  if (nesting <= kMaxNesting) return {};
  return refused("a list or dict nests deeper than " + std::to_string(kMaxNesting));
}

constexpr std::size_t kMaxKeyValues = 100'000;

// `left`: how many values are looked at before the answer is no. Tuples that share their items can stand for any
// number.
bool is_hashable(const Value& value, std::size_t& left) {
  if (value.is_dict() || left == 0) return false;
  --left;
  const Sequence* sequence = value.sequence();
  if (sequence == nullptr) return true;
  if (sequence->kind == SequenceKind::kList) return false;
  return std::ranges::all_of(sequence->items, [&](const Value& item) { return is_hashable(item, left); });
}

}  // namespace

Value::Value(Dict dict) : data_(std::make_shared<const Dict>(std::move(dict))) {}
Value::Value(Callable callable) : data_(std::make_shared<const Callable>(std::move(callable))) {}

Value Value::undefined(std::string why) {
  Value value;
  value.data_ = Undefined{std::make_shared<const std::string>(std::move(why))};
  return value;
}

const std::string& Value::why_undefined() const {
  return *std::get<Undefined>(data_).why;
}

std::optional<std::int64_t> Value::integer() const {
  if (is_bool()) return std::get<bool>(data_) ? 1 : 0;
  if (is_integer()) return std::get<std::int64_t>(data_);
  return std::nullopt;
}

std::optional<double> Value::number() const {
  if (is_float()) return std::get<double>(data_);
  const auto whole = integer();
  return whole ? std::optional(static_cast<double>(*whole)) : std::nullopt;
}

bool Value::truth() const {
  if (is_none() || is_undefined()) return false;
  if (const auto value = number()) return *value != 0;
  if (const Text* value = text()) return !value->empty();
  if (const Dict* value = dict()) return value->size() > 0;
  if (const Sequence* value = sequence()) return value->kind == SequenceKind::kGenerator || !value->items.empty();
  return true;
}

std::string_view Value::type_name() const {
  if (is_none()) return "NoneType";
  if (is_undefined()) return "Undefined";
  if (is_bool()) return "bool";
  if (is_integer()) return "int";
  if (is_float()) return "float";
  if (is_text()) return "str";
  if (is_dict()) return "dict";
  if (const Sequence* value = sequence()) return kSequenceNames[static_cast<std::size_t>(value->kind)];
  if (space() != nullptr) return "Namespace";
  return loop() != nullptr ? "LoopContext" : "function";
}

std::size_t Value::nesting() const {
  if (const Dict* value = dict()) return value->nesting();
  const Sequence* value = sequence();
  return value == nullptr ? 0 : value->nesting;
}

Result<Value> make_sequence(SequenceKind kind, Values items) {
  std::size_t nesting = 0;
  for (const Value& item : items) nesting = std::max(nesting, item.nesting());
  CAIRN_TRY_VOID(check_nesting(nesting + 1));
  Sequence sequence{.kind = kind, .items = std::move(items), .nesting = nesting + 1};
  return Value(std::make_shared<const Sequence>(std::move(sequence)));
}

std::optional<std::size_t> Dict::position(const Value& key) const {
  if (const Text* text = key.text()) {
    count_text(key);
    const auto found = by_text_.find(text->bytes());
    return found == by_text_.end() ? std::nullopt : std::optional(found->second);
  }
  if (by_text_.size() == items_.size()) return std::nullopt;
  const auto found = std::ranges::find_if(items_, [&](const Item& item) { return equal(item.key, key); });
  return found == items_.end() ? std::nullopt : std::optional(static_cast<std::size_t>(found - items_.begin()));
}

const Value* Dict::find(const Value& key) const {
  const auto at = position(key);
  return at ? &items_[*at].value : nullptr;
}

const Value* Dict::find_name(std::string_view key) const {
  count_bytes(key.size());
  const auto found = by_text_.find(std::string(key));
  return found == by_text_.end() ? nullptr : &items_[found->second].value;
}

Status Dict::set(Value key, Value value) {
  std::size_t looked_at = kMaxKeyValues;
  const bool hashable = is_hashable(key, looked_at);
  CAIRN_TRY_VOID(take_steps(kMaxKeyValues - looked_at));
  if (!hashable) return refused("unhashable type: '" + std::string(key.type_name()) + "'");
  const std::size_t nesting = std::max({nesting_, value.nesting() + 1, key.nesting() + 1});
  CAIRN_TRY_VOID(check_nesting(nesting));
  nesting_ = nesting;
  if (const auto at = position(key)) {
    items_[*at].value = std::move(value);
    return {};
  }
  if (const Text* text = key.text()) by_text_.emplace(text->bytes(), items_.size());
  items_.push_back({std::move(key), std::move(value)});
  return {};
}

}  // namespace cairn::jinja
