// SPDX-License-Identifier: Apache-2.0
// Threads that serve connections, and a queue of those that wait for one: bounded, so that a flood is refused instead
// of being stored.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "cairn/serve/http/connection.h"

namespace cairn {

struct Arrival {
  Descriptor socket;
  std::string peer;
};

// Thread-safe.
class ConnectionPool {
 public:
  // What `serve` throws ends its connection alone.
  ConnectionPool(std::size_t threads, std::size_t max_waiting, std::function<void(Arrival)> serve);
  ~ConnectionPool();  // waits for the connections that are being served; drops those that wait

  // False, and `arrival` stays, when the queue is full.
  bool push(Arrival& arrival);
  // Somebody waits for a thread: idle connections should go.
  bool crowded() const;

 private:
  void work();

  const std::size_t max_waiting_;
  const std::function<void(Arrival)> serve_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Arrival> waiting_;  // guarded by mutex_
  bool stop_ = false;            // guarded by mutex_
  std::vector<std::jthread> threads_;
};

}  // namespace cairn
