// SPDX-License-Identifier: Apache-2.0
// What templates can call. Each table is a list of names and functions; see docs/chat-templates.md.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "cairn/text/jinja/runtime.h"
#include "cairn/text/jinja/value.h"

namespace cairn::jinja {

struct Builtin {
  std::string_view name;
  Function function;
};

// Null for names that are not known.
Function find_filter(std::string_view name);
Function find_test(std::string_view name);
Function find_global(std::string_view name);
Function find_method(const Value& object, std::string_view name);

// `object.name`: a method, else what is at that key, else undefined. `object[key]`: the other way round.
// Errors: kInvalidArgument when the object is undefined.
Result<Value> attribute_of(const Value& object, std::string_view name);
Result<Value> item_of(const Value& object, const Value& key);

// The tables that the above look into, one of each file.
std::span<const Builtin> text_filters();
std::span<const Builtin> layout_filters();
std::span<const Builtin> value_filters();
std::span<const Builtin> sequence_filters();
std::span<const Builtin> order_filters();
std::span<const Builtin> selection_filters();
std::span<const Builtin> text_methods();
std::span<const Builtin> text_search_methods();

// What map(attribute="a.b.0"), sort and their like read of an item; `otherwise`, unless it is null, takes the place of
// what is undefined on the way. Errors: kInvalidArgument.
Result<Value> value_at_path(const Value& item, const Value& path, const Value* otherwise = nullptr);

// Calls the filter or test of that name. Errors: kInvalidArgument when there is none, and the function's own.
Result<Value> apply_filter(Runtime& runtime, std::string_view name, const Value& input, const Arguments& arguments);
Result<bool> apply_test(Runtime& runtime, std::string_view name, const Value& value, const Arguments& arguments);

}  // namespace cairn::jinja
