// SPDX-License-Identifier: Apache-2.0
// Template text to its tree.
#pragma once

#include <string_view>

#include "cairn/base/result.h"
#include "cairn/text/jinja/ast.h"

namespace cairn::jinja {

// Errors: kInvalidArgument, "line N: ...": what is wrong, is not supported, or nests too deep.
Result<Body> parse(std::string_view source);

}  // namespace cairn::jinja
