// SPDX-License-Identifier: Apache-2.0
// The functions that every template can call.
#include <algorithm>
#include <array>
#include <ctime>
#include <string>
#include <utility>

#include "cairn/text/jinja/builtins.h"
#include "cairn/text/jinja/operators.h"
#include "cairn/text/jinja/print.h"

namespace cairn::jinja {
namespace {

constexpr std::int64_t kLongestRange = 100'000;  // as Jinja's sandbox has it

Result<Value> range_function(Runtime& runtime, const Value& /*self*/, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("range", arguments, {"start", "stop", "step"}, 1));
  for (std::size_t i = 0; i < 3; ++i) {
    const Value* value = bound.get(i);
    if (value == nullptr) continue;
    if (value->is_undefined()) return undefined_error(*value);
    if (!value->integer()) return refused("range() takes whole numbers");
  }
  const bool single = bound.get(1) == nullptr;
  const std::int64_t start = single ? 0 : *bound.at(0).integer();
  const std::int64_t stop = single ? *bound.at(0).integer() : *bound.at(1).integer();
  const std::int64_t step = bound.get(2) == nullptr ? 1 : *bound.at(2).integer();
  if (step == 0) return refused("range(): the step is zero");
  Sequence made{.kind = SequenceKind::kRange};
  made.start = start;
  made.stop = stop;
  made.step = step;
  for (std::int64_t at = start; step > 0 ? at < stop : at > stop;) {
    if (std::ssize(made.items) >= kLongestRange) {
      return refused("range() is longer than " + std::to_string(kLongestRange));
    }
    made.items.emplace_back(at);
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  CAIRN_TRY_VOID(runtime.budget.values(made.items.size()));
  return Value(std::make_shared<const Sequence>(std::move(made)));
}

// dict(pairs or a dict, name=value, ...)
Result<Dict> make_dict(Runtime& runtime, const Arguments& arguments) {
  Dict dict;
  if (arguments.positional.size() > 1) return refused("dict() takes one value and names");
  if (!arguments.positional.empty()) {
    const Value& from = arguments.positional.front();
    if (from.is_dict()) {
      dict = *from.dict();
      CAIRN_TRY_VOID(runtime.budget.values(dict.size() * 4));
    } else {
      CAIRN_TRY(const Values pairs, iterate(from, runtime.budget));
      for (const Value& each : pairs) {
        CAIRN_TRY(Values pair, iterate(each, runtime.budget));
        if (pair.size() != 2) return refused("dict() takes pairs of a key and a value");
        CAIRN_TRY_VOID(dict.set(pair[0], pair[1]));
      }
    }
  }
  for (const auto& [name, value] : arguments.named) CAIRN_TRY_VOID(dict.set(Value::trusted(name), value));
  return dict;
}

Result<Value> dict_function(Runtime& runtime, const Value& /*self*/, const Arguments& arguments) {
  CAIRN_TRY(Dict made, make_dict(runtime, arguments));
  return Value(std::move(made));
}

Result<Value> namespace_function(Runtime& runtime, const Value& /*self*/, const Arguments& arguments) {
  CAIRN_TRY(Dict values, make_dict(runtime, arguments));
  CAIRN_TRY_VOID(runtime.budget.values(8));
  return Value(&runtime.spaces.emplace_back(Namespace{std::move(values)}));
}

Result<Value> raise_exception_function(Runtime& runtime, const Value& /*self*/, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("raise_exception", arguments, {"message"}, 1));
  CAIRN_TRY(const Text message, print(bound.at(0), runtime.budget));
  runtime.raised = message.bytes();
  return refused(message.bytes());
}

Result<Value> strftime_now_function(Runtime& runtime, const Value& /*self*/, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("strftime_now", arguments, {"format"}, 1));
  CAIRN_TRY(const Text format, bound.text(0, {}));
  if (format.size() > 1000) return refused("strftime_now(): the format is longer than 1000 bytes");
  if (format.empty()) return Value(Text());
  if (format.bytes().find('\0') != std::string::npos) return refused("strftime_now(): the format holds a zero byte");
  std::string text(16'384, '\0');
  const std::string terminated = format.bytes() + " ";  // so that nothing written can be told from an error
  const std::size_t size = std::strftime(text.data(), text.size(), terminated.c_str(), &runtime.now);
  if (size == 0) return refused("strftime_now(): the format makes too long a text");
  text.resize(size - 1);
  return Value::trusted(std::move(text));
}

constexpr std::array kGlobals = std::to_array<Builtin>({
    {"range", range_function},
    {"dict", dict_function},
    {"namespace", namespace_function},
    {"raise_exception", raise_exception_function},
    {"strftime_now", strftime_now_function},
});

}  // namespace

Function find_global(std::string_view name) {
  const auto found = std::ranges::find(kGlobals, name, &Builtin::name);
  return found == kGlobals.end() ? nullptr : found->function;
}

}  // namespace cairn::jinja
