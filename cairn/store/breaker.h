// SPDX-License-Identifier: Apache-2.0
// A circuit breaker: after several failures in a short time nothing is tried for a while, then one probe decides.
#pragma once

#include <algorithm>
#include <chrono>
#include <deque>

#include "cairn/base/clock.h"

namespace cairn {

struct BreakerOptions {
  std::size_t failures = 5;                 // so many
  std::chrono::milliseconds window{5'000};  // within this time
  std::chrono::milliseconds rest{30'000};   // stop everything for this long
};

// Time comes in as an argument. Thread-compatible: its owner holds a lock.
class Breaker {
 public:
  explicit Breaker(BreakerOptions options) : options_(options) {}

  // Whether to try now. After a rest only one caller is let in; it must report success(), failure() or neither().
  bool admit(Deadline now) {
    if (!open_) return true;
    if (now < until_ || probing_) return false;
    probing_ = true;
    return true;
  }
  void success() {
    failures_.clear();
    open_ = probing_ = false;
  }
  void failure(Deadline now) {
    if (open_) {
      // Failures of what began before the rest do not prolong it.
      if (probing_) until_ = now + options_.rest;
      probing_ = false;
      return;
    }
    failures_.push_back(now);
    while (failures_.front() + options_.window < now) failures_.pop_front();
    if (failures_.size() < options_.failures) return;
    open_ = true;
    until_ = now + options_.rest;
    failures_.clear();
  }
  // What was tried says nothing about the server: another may probe.
  void neither() { probing_ = false; }

  // 0 while closed or when a probe is due.
  std::chrono::milliseconds resting(Deadline now) const {
    if (!open_ || now >= until_) return std::chrono::milliseconds(0);
    return std::chrono::ceil<std::chrono::milliseconds>(until_ - now);
  }

 private:
  BreakerOptions options_;
  std::deque<Deadline> failures_;
  bool open_ = false, probing_ = false;
  Deadline until_{};
};

}  // namespace cairn
