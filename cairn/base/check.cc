// SPDX-License-Identifier: Apache-2.0
#include "cairn/base/check.h"

#include <cstdio>
#include <cstdlib>

namespace cairn {

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "cairn: broken invariant: %s (%s:%d); please report this\n", condition, file, line);
  std::abort();
}

}  // namespace cairn
