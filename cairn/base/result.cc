// SPDX-License-Identifier: Apache-2.0
#include "cairn/base/result.h"

#include <cstdio>
#include <cstdlib>

#include "cairn/base/check.h"

namespace cairn {

std::string_view error_code_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument: return "invalid argument";
    case ErrorCode::kNotFound: return "not found";
    case ErrorCode::kIo: return "i/o error";
    case ErrorCode::kCorrupt: return "corrupt";
    case ErrorCode::kUnsupported: return "unsupported";
    case ErrorCode::kTooLong: return "too long";
    case ErrorCode::kOutOfBudget: return "out of budget";
    case ErrorCode::kCancelled: return "cancelled";
    case ErrorCode::kBusy: return "busy";
    case ErrorCode::kInternal: return "internal error";
  }
  return "unknown";
}

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "cairn: broken invariant: %s (%s:%d); please report this\n", condition, file, line);
  std::abort();
}

}  // namespace cairn
