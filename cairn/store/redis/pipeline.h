// SPDX-License-Identifier: Apache-2.0
// Many commands over one connection, as many in flight as a credit window allows, replies in order.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/clock.h"
#include "cairn/store/record/block_record.h"
#include "cairn/store/redis/cluster.h"
#include "cairn/store/redis/link.h"
#include "cairn/store/redis/names.h"
#include "cairn/store/tier.h"

namespace cairn::redis {

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

// One block of an operation.
struct Task {
  std::size_t index = 0;
  Digest key;
  std::shared_ptr<Node> ask;  // a slot that is just moving: where this block is asked for, for once
  std::uint16_t slot = 0;
  bool ended = false;
  bool again = false;  // this try came to nothing, the next begins anew
  BlockStatus status = BlockStatus::kMiss;
  int tries = 0;      // that came to nothing
  bool wait = false;  // before the next: the server asked for patience

  const BlockRecord* from = nullptr;  // of a put
  RecordBytes header;                 // of a put: the header region to write
  bool asked = false;                 // of a put: what is there does not keep it from being written
  bool absent = false;                // of a get: a slice is
  std::int64_t lives_ms = 0;          // of a replacement: how long what is there does; -1 for ever
  std::string value;                  // the header's value, as written or received
  Commit commit;
  std::uint32_t slices_done = 0;
  RecordBytes bytes;  // of a get, being filled
  std::shared_ptr<const BlockRecord> record;

  bool over() const { return ended || again; }
  void end(BlockStatus with) {
    ended = true;
    status = with;
  }
};

struct Request {
  enum class Kind : std::uint8_t { kHeader, kSlice, kExists, kIgnored };

  Task* task = nullptr;  // once it is over, its requests are not sent
  Kind kind = Kind::kIgnored;
  std::vector<std::string> words = {};
  std::string_view value = {};     // third word of the command when it is not empty; lives until the pipeline has run
  std::span<std::byte> into = {};  // where the reply's string goes
  std::size_t bytes = 64;          // about, in flight
  bool asking = false;             // as the task does that it is for
};

// Thread-compatible.
class Pipeline {
 public:
  Pipeline(Link& link, CreditWindow& window, Deadline deadline) : link_(link), window_(window), deadline_(deadline) {}
  ~Pipeline() {
    for (const Flight& flight : flights_) window_.give(flight.cost);
  }

  void add(Request request) { ready_.push_back(std::move(request)); }
  // Until all is answered. `take` may add more. False when the connection failed or the deadline came first.
  bool run(const std::function<void(Request&, Reply&)>& take) {
    while (send_ready()) {
      if (flights_.empty()) return true;
      Flight& flight = flights_.front();
      if (flight.asking && !link_.receive(deadline_)) return false;  // the answer to ASKING
      auto reply = link_.receive(deadline_, flight.request.into);
      if (!reply) return false;
      Request request = std::move(flight.request);
      window_.give(flight.cost);
      flights_.pop_front();
      take(request, *reply);
    }
    return false;
  }

 private:
  struct Flight {
    Request request;
    std::size_t cost;
    bool asking;
  };

  // False when there is no credit in time.
  bool send_ready() {
    while (!ready_.empty()) {
      Request& request = ready_.front();
      if (request.task != nullptr && request.task->over()) {
        ready_.pop_front();
        continue;
      }
      const std::size_t cost = window_.cost(request.bytes);
      if (!window_.try_take(cost)) {
        if (!flights_.empty()) return true;  // what comes back makes room
        if (!window_.take(cost, deadline_)) return false;
      }
      const bool asking = request.asking || (request.task != nullptr && request.task->ask != nullptr);
      if (asking) link_.command({"ASKING"});
      std::vector<std::string_view> words(request.words.begin(), request.words.end());
      if (!request.value.empty()) words.insert(words.begin() + 2, request.value);
      link_.command(words);
      flights_.push_back({std::move(request), cost, asking});
      ready_.pop_front();
    }
    return true;
  }

  Link& link_;
  CreditWindow& window_;
  const Deadline deadline_;
  std::deque<Request> ready_;
  std::deque<Flight> flights_;
};

}  // namespace cairn::redis
