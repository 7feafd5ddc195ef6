// SPDX-License-Identifier: Apache-2.0
// Broken invariants stop the program with one line. Never used on input from disk, network or user.
#pragma once

namespace cairn {

[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace cairn

#define CAIRN_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::cairn::check_failed(#condition, __FILE__, __LINE__))
#ifdef NDEBUG
#define CAIRN_DCHECK(condition) static_cast<void>(0)
#else
#define CAIRN_DCHECK(condition) CAIRN_CHECK(condition)
#endif
