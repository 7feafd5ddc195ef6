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
      : at_(static_cast<const char*>(next.data)),
        end_(at_ + next.bytes),
        per_step_(steps == 0 ? 0 : (next.bytes + steps - 1) / steps) {
    if (next.boxes != kWholePage && next.box_bytes != 0) some_ = next;
  }

  void step() {
    for (const char* until = at_ + per_step_; at_ < until && at_ < end_; at_ += kLine) {
      if (some_.bytes == 0 || is_read(at_)) _mm_prefetch(at_, _MM_HINT_T0);
    }
  }

 private:
  static constexpr std::size_t kLine = 64;

  // Whether a box that is read has some of the line.
  bool is_read(const char* line) const {
    const auto first = static_cast<std::size_t>(line - static_cast<const char*>(some_.data)), last = first + kLine - 1;
    if (first < some_.boxes_from || last >= some_.boxes_to) return true;
    for (std::size_t box = (first - some_.boxes_from) / some_.box_bytes;
         box * some_.box_bytes <= last - some_.boxes_from; ++box) {
      if ((some_.boxes >> box % kPageBoxes & 1) != 0) return true;
    }
    return false;
  }

  const char* at_;
  const char* end_;
  std::size_t per_step_;
  PrefetchHint some_{};  // where not all is read
};

}  // namespace
}  // namespace cairn
