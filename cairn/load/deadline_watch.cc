// SPDX-License-Identifier: Apache-2.0
#include "cairn/load/deadline_watch.h"

#include <utility>

namespace cairn {
namespace {

constexpr auto kTick = std::chrono::milliseconds(20);

}  // namespace

DeadlineWatch::Guard::Guard(DeadlineWatch& watch, Deadline deadline, std::function<void()> stop) : watch_(watch) {
  const std::lock_guard lock(watch.mutex_);
  number_ = watch.next_++;
  watch.entries_.emplace(number_, Entry{deadline, std::move(stop)});
  watch.changed_.notify_one();
}

DeadlineWatch::Guard::~Guard() {
  const std::lock_guard lock(watch_.mutex_);
  watch_.entries_.erase(number_);
}

void DeadlineWatch::stop_all() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
}

bool DeadlineWatch::stopped() const {
  const std::lock_guard lock(mutex_);
  return stopped_;
}

void DeadlineWatch::run(const std::stop_token& token) {
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, token, [this] { return !entries_.empty(); })) {
    const Deadline now = std::chrono::steady_clock::now();
    for (const auto& [number, entry] : entries_) {
      if (stopped_ || entry.deadline <= now) entry.stop();
    }
    changed_.wait_for(lock, token, kTick, [] { return false; });
  }
}

}  // namespace cairn
