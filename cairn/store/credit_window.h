// SPDX-License-Identifier: Apache-2.0
// A cap on bytes in flight: what is asked of a server and not yet received, or sent and not yet acknowledged.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <mutex>

#include "cairn/base/clock.h"

namespace cairn {

// Who holds credits must not wait for more without a way to give them back first. Thread-safe.
class CreditWindow {
 public:
  explicit CreditWindow(std::size_t bytes) : size_(bytes), free_(bytes) {}

  // What a request of this size takes; one that is larger than the window takes all of it.
  std::size_t cost(std::size_t bytes) const { return std::min(bytes, size_); }

  bool try_take(std::size_t cost) {
    const std::lock_guard lock(mutex_);
    if (cost > free_) return false;
    free_ -= cost;
    return true;
  }
  // False when the deadline came first.
  bool take(std::size_t cost, Deadline deadline) {
    std::unique_lock lock(mutex_);
    if (!given_.wait_until(lock, deadline, [&] { return cost <= free_; })) return false;
    free_ -= cost;
    return true;
  }
  void give(std::size_t cost) {
    {
      const std::lock_guard lock(mutex_);
      free_ += cost;
    }
    given_.notify_all();
  }

  std::size_t size() const { return size_; }
  std::size_t in_flight() const {
    const std::lock_guard lock(mutex_);
    return size_ - free_;
  }

 private:
  const std::size_t size_;
  mutable std::mutex mutex_;
  std::condition_variable given_;
  std::size_t free_;  // guarded by mutex_
};

}  // namespace cairn
