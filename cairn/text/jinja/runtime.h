// SPDX-License-Identifier: Apache-2.0
// What one rendering has, and how functions, filters and tests are given what they work on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <deque>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/text/jinja/budget.h"
#include "cairn/text/jinja/value.h"

namespace cairn::jinja {

// Thread-compatible.
struct Runtime {
  Budget budget;
  std::tm now{};                        // what strftime_now() tells
  std::optional<std::string> raised{};  // by raise_exception()
  std::deque<Namespace> spaces{};       // addresses stay
  std::deque<LoopState> loops{};
};

struct Arguments {
  Values positional{};
  std::vector<std::pair<std::string, Value>> named{};

  const Value* find(std::string_view name) const;  // among the named
};

// Takes steps for the texts that a function, filter or test is about to read. Errors: kInvalidArgument for their limit.
Status count_work(Budget& budget, const Value& input, const Arguments& arguments);

// Arguments in the order of a function's parameters. Refers to nothing. Thread-compatible.
class Bound {
 public:
  // Errors: kInvalidArgument for too many, unknown and repeated ones, and when one of the first `needed` is missing.
  static Result<Bound> bind(std::string_view function, const Arguments& arguments,
                            std::initializer_list<std::string_view> parameters, std::size_t needed = 0);

  // Null where it was left out.
  const Value* get(std::size_t i) const { return values_[i] ? &*values_[i] : nullptr; }
  const Value& at(std::size_t i) const { return *values_[i]; }  // Requires: it is there
  // None and left out are the same to these. Errors: kInvalidArgument for another type, naming the parameter.
  Result<std::int64_t> integer(std::size_t i, std::int64_t otherwise) const;
  Result<Text> text(std::size_t i, const Text& otherwise) const;
  bool flag(std::size_t i, bool otherwise) const;

 private:
  std::string function_;
  std::vector<std::string> names_;
  std::vector<std::optional<Value>> values_;
};

}  // namespace cairn::jinja
