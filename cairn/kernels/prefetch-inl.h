// SPDX-License-Identifier: Apache-2.0
// Spreads the prefetches of a PrefetchHint evenly over the steps of a loop.
#pragma once

#include <xmmintrin.h>

#include "cairn/kernels/args.h"

namespace cairn {
namespace {

class Prefetcher {
 public:
  Prefetcher(PrefetchHint next, std::uint32_t steps)
      : at_(static_cast<const char*>(next.data)), end_(at_ + next.bytes), per_step_((next.bytes + steps - 1) / steps) {}

  void step() {
    for (const char* until = at_ + per_step_; at_ < until && at_ < end_; at_ += kLine) _mm_prefetch(at_, _MM_HINT_T0);
  }

 private:
  static constexpr std::size_t kLine = 64;
  const char* at_;
  const char* end_;
  std::size_t per_step_;
};

}  // namespace
}  // namespace cairn
