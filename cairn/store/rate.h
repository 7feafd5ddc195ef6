// SPDX-License-Identifier: Apache-2.0
// How fast something was seen to go, recent times counting more.
#pragma once

#include <atomic>

namespace cairn {

// Thread-safe; concurrent observations may lose one another.
class ReadRate {
 public:
  void observe(double amount, double seconds) {
    if (amount <= 0 || seconds <= 0) return;
    const double now = amount / seconds, before = per_second_.load(std::memory_order_relaxed);
    per_second_.store(before == 0 ? now : before + kWeight * (now - before), std::memory_order_relaxed);
  }
  double per_second() const { return per_second_.load(std::memory_order_relaxed); }  // 0: never observed

 private:
  static constexpr double kWeight = 0.3;
  std::atomic<double> per_second_{0};
};

}  // namespace cairn
