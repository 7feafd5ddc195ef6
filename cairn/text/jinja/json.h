// SPDX-License-Identifier: Apache-2.0
// JSON to values and back, as Python's json module does it.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "cairn/base/result.h"
#include "cairn/text/jinja/budget.h"
#include "cairn/text/jinja/value.h"

namespace cairn::jinja {

// Texts are plain: nothing in them counts as the template's. Objects keep their order; of equal keys the last counts.
// Whole numbers beyond 64 bits become floats. Errors: kInvalidArgument, with the byte where it is wrong.
Result<Value> read_json(std::string_view text);

struct JsonStyle {
  bool ensure_ascii = false;
  std::optional<std::string> indent{};                              // one level of it; none: one line
  std::optional<std::pair<std::string, std::string>> separators{};  // between items, and behind keys
  bool sort_keys = false;
};

// Errors: kInvalidArgument for what JSON cannot say (undefined, functions) and for a limit that is reached.
Result<std::string> write_json(const Value& value, const JsonStyle& style, Budget& budget);

}  // namespace cairn::jinja
