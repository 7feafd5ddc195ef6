// SPDX-License-Identifier: Apache-2.0
// Values as text: Python's str() and repr(), and its formats.
#pragma once

#include <string>

#include "cairn/base/result.h"
#include "cairn/text/jinja/budget.h"
#include "cairn/text/jinja/value.h"

namespace cairn::jinja {

// str(value). Numbers, True, False and None count as written by the template: no mark lies in them. Text keeps what it
// is; what is made of lists and dicts is nobody's. Errors: kInvalidArgument for a limit that is reached.
Result<Text> print(const Value& value, Budget& budget);
// repr(value).
Result<std::string> represent(const Value& value, Budget& budget);

std::string float_text(double value);  // as Python's repr(): the shortest that reads back
// %.Nf of printf, for any number of places.
std::string fixed_text(double value, int places);

// `format % values`. Errors: kInvalidArgument for a format that is not known, values that do not fit it, and limits.
Result<Value> format_percent(const Text& format, const Value& values, Budget& budget);

}  // namespace cairn::jinja
