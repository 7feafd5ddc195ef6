// SPDX-License-Identifier: Apache-2.0
// Errors as values: every fallible boundary returns Result<T>; a cache miss is not an error (return an empty optional).
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace cairn {

// What went wrong, in terms a caller can act on. The command line maps each code to an exit status.
enum class ErrorCode : std::uint8_t {
  kInvalidArgument,  // the caller asked for something that makes no sense
  kNotFound,         // a file, tensor or key that must exist does not
  kIo,               // the operating system refused or failed
  kCorrupt,          // bytes contradict their own format
  kUnsupported,      // well-formed, but not something this build does
  kTooLong,          // a prompt or sequence exceeds the context
  kOutOfBudget,      // a byte budget would be exceeded
  kCancelled,        // the caller stopped it
  kBusy,             // too much is going on: try again later
  kInternal,         // a bug
};

std::string_view error_code_name(ErrorCode code);

// `message` is one line for a person: what is wrong and, where there is something to do, what to do.
struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
};

template <class T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

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
