// SPDX-License-Identifier: Apache-2.0
// Errors as values: what can fail returns Result<T>, which holds a T or an Error.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

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

}  // namespace cairn
