// SPDX-License-Identifier: Apache-2.0
// String literals with Python's escapes.
#pragma once

#include <string>
#include <string_view>

#include "cairn/base/result.h"

namespace cairn::jinja {

// `body` is what stands between the quotes. An escape that Python does not know stays as it is written.
// Errors: kInvalidArgument for digits that are missing, and for characters by name.
Result<std::string> read_string_literal(std::string_view body);

}  // namespace cairn::jinja
