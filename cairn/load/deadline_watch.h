// SPDX-License-Identifier: Apache-2.0
// Ends what takes too long: a socket library bounds single reads, not whole exchanges.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "cairn/base/clock.h"

namespace cairn {

// Thread-safe. `stop` functions run on the watch's own thread, again and again until their guard goes: what is being
// opened when the time is up cannot be stopped at that moment.
class DeadlineWatch {
 public:
  class Guard {
   public:
    Guard(DeadlineWatch& watch, Deadline deadline, std::function<void()> stop);
    ~Guard();  // waits for a running `stop`
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    DeadlineWatch& watch_;
    std::uint64_t number_;
  };

  DeadlineWatch() : thread_([this](const std::stop_token& token) { run(token); }) {}

  void stop_all();  // every deadline, also of guards to come, has passed
  bool stopped() const;

 private:
  struct Entry {
    Deadline deadline;
    std::function<void()> stop;
  };

  void run(const std::stop_token& token);

  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  std::map<std::uint64_t, Entry> entries_;  // guarded by mutex_
  std::uint64_t next_ = 0;                  // guarded by mutex_
  bool stopped_ = false;                    // guarded by mutex_
  std::jthread thread_;                     // last: it uses the others
};

}  // namespace cairn
