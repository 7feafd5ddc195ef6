// SPDX-License-Identifier: Apache-2.0
// How the library's own code makes errors and passes them on; what an error is stands in the public header.
#pragma once

#include <string>
#include <utility>

#include "cairn/result.h"

namespace cairn {

inline std::unexpected<Error> fail(ErrorCode code, std::string message) {
  return std::unexpected(Error{code, std::move(message)});
}

}  // namespace cairn

#define CAIRN_CONCAT_INNER(a, b) a##b
#define CAIRN_CONCAT(a, b) CAIRN_CONCAT_INNER(a, b)
// CAIRN_TRY(auto x, expr): x takes the value of expr, or the enclosing function returns its error.
#define CAIRN_TRY(declaration, expr) CAIRN_TRY_INNER(CAIRN_CONCAT(cairn_try_, __LINE__), declaration, expr)
#define CAIRN_TRY_INNER(tmp, declaration, expr)             \
  auto tmp = (expr);                                        \
  if (!tmp) return std::unexpected(std::move(tmp).error()); \
  declaration = *std::move(tmp)
// CAIRN_TRY_VOID(expr): the enclosing function returns the error of expr, if any.
#define CAIRN_TRY_VOID(expr)                                                                                \
  do {                                                                                                      \
    if (auto cairn_status = (expr); !cairn_status) return std::unexpected(std::move(cairn_status).error()); \
  } while (false)
