// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/http/connection_pool.h"

#include <exception>

namespace cairn {

ConnectionPool::ConnectionPool(std::size_t threads, std::size_t max_waiting, std::function<void(Arrival)> serve)
    : max_waiting_(max_waiting), serve_(std::move(serve)) {
  for (std::size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

ConnectionPool::~ConnectionPool() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  threads_.clear();
}

bool ConnectionPool::push(Arrival& arrival) {
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.size() >= max_waiting_) return false;
    waiting_.push_back(std::move(arrival));
  }
  changed_.notify_one();
  return true;
}

bool ConnectionPool::crowded() const {
  const std::lock_guard lock(mutex_);
  return !waiting_.empty();
}

void ConnectionPool::work() {
  for (;;) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return stop_ || !waiting_.empty(); });
    if (stop_) return;
    Arrival arrival = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    try {
      serve_(std::move(arrival));
    } catch (const std::exception&) {
      // Out of memory, most likely: others go on.
    }
  }
}

}  // namespace cairn
