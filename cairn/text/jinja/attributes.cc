// SPDX-License-Identifier: Apache-2.0
// What lies behind a dot or in brackets, and the methods of lists, dicts and loops.
#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "cairn/text/jinja/builtins.h"
#include "cairn/text/jinja/operators.h"
#include "cairn/text/jinja/print.h"
#include "cairn/text/jinja/work.h"

namespace cairn::jinja {
namespace {

Result<Value> get_method(Runtime& /*runtime*/, const Value& self, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("get", arguments, {"key", "default"}, 1));
  CAIRN_TRY(const bool found, contains(self, bound.at(0)));
  if (found) return *self.dict()->find(bound.at(0));
  return bound.get(1) != nullptr ? bound.at(1) : Value();
}

template <SequenceKind kind>
Result<Value> view_method(Runtime& runtime, const Value& self, const Arguments& arguments) {
  CAIRN_TRY_VOID(Bound::bind("this method", arguments, {}));
  CAIRN_TRY_VOID(runtime.budget.values(self.dict()->size() * 4));
  Values items;
  for (const Dict::Item& item : self.dict()->items()) {
    if (kind == SequenceKind::kKeys) items.push_back(item.key);
    if (kind == SequenceKind::kValues) items.push_back(item.value);
    if (kind != SequenceKind::kItems) continue;
    CAIRN_TRY(Value pair, make_tuple({item.key, item.value}));
    items.push_back(std::move(pair));
  }
  return make_sequence(kind, std::move(items));
}

Result<Value> copy_method(Runtime& /*runtime*/, const Value& self, const Arguments& arguments) {
  CAIRN_TRY_VOID(Bound::bind("copy", arguments, {}));
  return self;
}

Result<Value> count_method(Runtime& /*runtime*/, const Value& self, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("count", arguments, {"value"}, 1));
  return Value(static_cast<std::int64_t>(
      std::ranges::count_if(self.sequence()->items, [&](const Value& item) { return equal(item, bound.at(0)); })));
}

Result<Value> index_method(Runtime& /*runtime*/, const Value& self, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("index", arguments, {"value"}, 1));
  const Values& items = self.sequence()->items;
  const auto found = std::ranges::find_if(items, [&](const Value& item) { return equal(item, bound.at(0)); });
  if (found == items.end()) return refused("index(): the value is not in the list");
  return Value(static_cast<std::int64_t>(found - items.begin()));
}

Result<Value> cycle_method(Runtime& /*runtime*/, const Value& self, const Arguments& arguments) {
  if (arguments.positional.empty()) return refused("loop.cycle() needs something to cycle through");
  return arguments.positional[self.loop()->index % arguments.positional.size()];
}

Result<Value> changed_method(Runtime& /*runtime*/, const Value& self, const Arguments& arguments) {
  LoopState& loop = *self.loop();
  const bool same = loop.last_changed && std::ranges::equal(*loop.last_changed, arguments.positional, equal);
  loop.last_changed = arguments.positional;
  return Value(!same);
}

Result<Value> is_integer_method(Runtime& /*runtime*/, const Value& self, const Arguments& arguments) {
  CAIRN_TRY_VOID(Bound::bind("is_integer", arguments, {}));
  const double value = *self.number();
  return Value(std::isfinite(value) && std::floor(value) == value);
}

constexpr std::array kDictMethods = std::to_array<Builtin>({
    {"get", get_method},
    {"items", view_method<SequenceKind::kItems>},
    {"keys", view_method<SequenceKind::kKeys>},
    {"values", view_method<SequenceKind::kValues>},
    {"copy", copy_method},
});
constexpr std::array kListMethods =
    std::to_array<Builtin>({{"count", count_method}, {"index", index_method}, {"copy", copy_method}});
constexpr std::array kLoopMethods = std::to_array<Builtin>({{"cycle", cycle_method}, {"changed", changed_method}});
constexpr std::array kFloatMethods = std::to_array<Builtin>({{"is_integer", is_integer_method}});

// Methods that change a value, which the sandbox of transformers forbids, and those of Python that are left out.
constexpr std::array<std::string_view, 8> kListChanges = {"append", "clear",  "extend",  "insert",
                                                          "pop",    "remove", "reverse", "sort"};
constexpr std::array<std::string_view, 6> kDictChanges = {"clear",      "pop",    "popitem",
                                                          "setdefault", "update", "fromkeys"};

Function find_in(std::span<const Builtin> table, std::string_view name) {
  const auto found = std::ranges::find(table, name, &Builtin::name);
  return found == table.end() ? nullptr : found->function;
}

bool is_forbidden(const Value& object, std::string_view name) {
  if (object.is_dict()) return std::ranges::find(kDictChanges, name) != kDictChanges.end();
  const Sequence* sequence = object.sequence();
  return sequence != nullptr && sequence->kind == SequenceKind::kList &&
         std::ranges::find(kListChanges, name) != kListChanges.end();
}

std::optional<Value> loop_field(const LoopState& loop, std::string_view name) {
  const auto number = [](std::size_t value) { return Value(static_cast<std::int64_t>(value)); };
  if (name == "index") return number(loop.index + 1);
  if (name == "index0") return number(loop.index);
  if (name == "revindex") return number(loop.size - loop.index);
  if (name == "revindex0") return number(loop.size - loop.index - 1);
  if (name == "first") return Value(loop.index == 0);
  if (name == "last") return Value(loop.index + 1 == loop.size);
  if (name == "length") return number(loop.size);
  if (name == "depth") return number(loop.depth + 1);
  if (name == "depth0") return number(loop.depth);
  if (name == "previtem" && loop.index > 0 && loop.index <= loop.items.size()) return loop.items[loop.index - 1];
  if (name == "previtem") return Value::undefined("there is no previous item");
  if (name == "nextitem" && loop.index + 1 < loop.items.size()) return loop.items[loop.index + 1];
  if (name == "nextitem") return Value::undefined("there is no next item");
  return std::nullopt;
}

// What Python's getattr() finds.
std::optional<Value> own_attribute(const Value& object, std::string_view name) {
  if (object.loop() != nullptr) {
    if (auto field = loop_field(*object.loop(), name)) return field;
  }
  if (const Namespace* space = object.space()) {
    const Value* held = space->values.find_name(name);
    return held == nullptr ? std::nullopt : std::optional(*held);
  }
  if (const Sequence* group = object.sequence(); group != nullptr && group->kind == SequenceKind::kGroup) {
    if (name == "grouper") return group->items[0];
    if (name == "list") return group->items[1];
  }
  if (is_forbidden(object, name)) {
    return Value::undefined("a '" + std::string(object.type_name()) + "' cannot be changed with '" + std::string(name) +
                            "'");
  }
  const Function method = find_method(object, name);
  return method == nullptr ? std::nullopt
                           : std::optional<Value>(Callable{.name = name, .function = method, .self = object});
}

std::string shown(const Value& key) {
  if (key.is_text()) return "'" + key.text()->bytes().substr(0, 100) + "'";
  return key.integer() ? std::to_string(*key.integer()) : std::string(key.type_name());
}

// Attributes that Python's values have and ours lack: not the same as undefined.
std::span<const std::string_view> left_out(const Value& object) {
  static constexpr std::array<std::string_view, 8> kOfTexts = {
      "encode", "expandtabs", "format_map", "isidentifier", "isprintable", "istitle", "maketrans", "translate"};
  static constexpr std::array<std::string_view, 12> kOfNumbers = {
      "as_integer_ratio", "bit_count", "bit_length", "conjugate", "denominator", "from_bytes",
      "fromhex",          "hex",       "imag",       "numerator", "real",        "to_bytes"};
  static constexpr std::array<std::string_view, 6> kOfMacros = {"arguments",     "caller",          "catch_kwargs",
                                                                "catch_varargs", "explicit_caller", "name"};
  static constexpr std::array<std::string_view, 3> kOfRanges = {"start", "step", "stop"};
  if (object.is_text()) return kOfTexts;
  if (object.is_number()) return kOfNumbers;
  if (object.callable() != nullptr && object.callable()->macro != nullptr) return kOfMacros;
  if (object.is_sequence() && object.sequence()->kind == SequenceKind::kRange) return kOfRanges;
  return {};
}

Result<Value> missing(const Value& object, const Value& key) {
  if (key.is_text() && std::ranges::find(left_out(object), key.text()->bytes()) != left_out(object).end()) {
    return refused("'" + key.text()->bytes() + "' of a '" + std::string(object.type_name()) + "' is not supported");
  }
  return Value::undefined("'" + std::string(object.type_name()) + "' has no attribute or item " + shown(key));
}

// What is at that key or index. Keys of a wrong type find nothing, as in Jinja.
std::optional<Value> own_item(const Value& object, const Value& key) {
  if (const Dict* dict = object.dict()) {
    const Value* held = dict->find(key);
    return held == nullptr ? std::nullopt : std::optional(*held);
  }
  const auto index = key.integer();
  return index ? item_at(object, *index) : std::nullopt;
}

}  // namespace

Function find_method(const Value& object, std::string_view name) {
  if (object.is_text()) {
    const Function method = find_in(text_methods(), name);
    return method != nullptr ? method : find_in(text_search_methods(), name);
  }
  if (object.is_dict()) return find_in(kDictMethods, name);
  if (object.loop() != nullptr) return find_in(kLoopMethods, name);
  if (object.is_float()) return find_in(kFloatMethods, name);
  const Sequence* sequence = object.sequence();
  if (sequence == nullptr || !sequence->is_indexed()) return nullptr;
  if (name == "copy" && sequence->kind != SequenceKind::kList) return nullptr;
  return find_in(kListMethods, name);
}

Result<Value> attribute_of(const Value& object, std::string_view name) {
  if (object.is_undefined()) return undefined_error(object);
  if (auto own = own_attribute(object, name)) return *std::move(own);
  if (const Dict* dict = object.dict()) {
    if (const Value* held = dict->find_name(name)) return *held;
  }
  return missing(object, Value::plain(std::string(name)));
}

Result<Value> item_of(const Value& object, const Value& key) {
  count_text(object);
  count_text(key);
  if (object.is_undefined()) return undefined_error(object);
  if (auto item = own_item(object, key)) return *std::move(item);
  if (const Text* name = key.text()) {
    if (auto own = own_attribute(object, name->bytes())) return *std::move(own);
  }
  return missing(object, key);
}

Result<Value> value_at_path(const Value& item, const Value& path, const Value* otherwise) {
  const auto step = [&](const Value& object, const Value& key) -> Result<Value> {
    CAIRN_TRY(Value found, item_of(object, key));
    return found.is_undefined() && otherwise != nullptr ? *otherwise : std::move(found);
  };
  if (path.is_undefined()) return undefined_error(path);
  if (path.integer()) return step(item, path);
  if (!path.is_text()) return refused("the name of an attribute must be a string");
  std::string_view rest = path.text()->bytes();
  Value at = item;
  while (true) {
    count_bytes(rest.size());
    const std::string_view part = rest.substr(0, rest.find('.'));
    const bool is_index =
        !part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == std::string_view::npos;
    const Value key = is_index ? Value(std::int64_t{std::stol(std::string(part))}) : Value::plain(std::string(part));
    CAIRN_TRY(at, step(at, key));
    if (part.size() == rest.size()) return at;
    rest.remove_prefix(part.size() + 1);
  }
}

}  // namespace cairn::jinja
