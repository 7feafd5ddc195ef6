// SPDX-License-Identifier: Apache-2.0
// What the command's exit status means; --help prints the same table.
#pragma once

#include "cairn/base/result.h"

namespace cairn {

struct ExitCode {
  ErrorCode code;
  int status;
  const char* meaning;
};

// One status per error code that a command can end with, so that scripts need not read messages. 0 is success. A code
// that is not listed (kBusy, which servers answer over HTTP) would be a bug of a command and ends as one.
inline constexpr ExitCode kExitCodes[] = {
    {ErrorCode::kInternal, 1, "a bug, or a check of ours that failed"},
    {ErrorCode::kInvalidArgument, 2, "a wrong flag or value"},
    {ErrorCode::kNotFound, 3, "a file, or something that must be in it, is missing"},
    {ErrorCode::kIo, 4, "the system could not read or write"},
    {ErrorCode::kCorrupt, 5, "the file contradicts its own format"},
    {ErrorCode::kUnsupported, 6, "a valid file that this build cannot use"},
    {ErrorCode::kTooLong, 7, "the prompt does not fit the context"},
    {ErrorCode::kOutOfBudget, 8, "the memory budget is too small"},
    {ErrorCode::kCancelled, 130, "interrupted"},
};

constexpr int exit_status(ErrorCode code) {
  for (const ExitCode& entry : kExitCodes) {
    if (entry.code == code) return entry.status;
  }
  return 1;
}

}  // namespace cairn
