// SPDX-License-Identifier: Apache-2.0
// One Redis server: a few connections that operations borrow, and a breaker that lets it rest after failures.
#pragma once

#include <chrono>
#include <condition_variable>
#include <expected>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cairn/base/random.h"
#include "cairn/store/breaker.h"
#include "cairn/store/redis/redis_link.h"
#include "cairn/store/redis/redis_url.h"
#include "cairn/store/tier.h"

namespace cairn {

struct RedisNodeOptions {
  RedisLogin login;
  std::size_t connections = 2;
  std::chrono::milliseconds connect_timeout{1'000};
  std::chrono::milliseconds silence{5'000};  // a server that says nothing for so long is broken
  BreakerOptions breaker;
};

// Thread-safe. Outlives its leases.
class RedisNode {
 public:
  // A connection, the borrower's alone. Returning it tells the breaker how it went.
  class Lease {
   public:
    Lease(RedisNode* node, std::unique_ptr<RedisLink> link) : node_(node), link_(std::move(link)) {}
    Lease(Lease&&) = default;
    Lease& operator=(Lease&&) = delete;
    ~Lease() {
      if (link_ != nullptr) node_->give_back(std::move(link_));
    }
    RedisLink& link() { return *link_; }

   private:
    RedisNode* node_;
    std::unique_ptr<RedisLink> link_;
  };

  RedisNode(RedisAddress address, RedisNodeOptions options);

  // Waits for a connection where all are lent, and opens one where there is room. kTimeout when the deadline came
  // first, kBroken when the server rests or cannot be reached.
  std::expected<Lease, BlockStatus> borrow(Deadline deadline);

  const RedisAddress& address() const { return address_; }
  std::chrono::milliseconds resting() const;  // 0: it does not
  Error last_error() const;                   // why the last connection could not be made or ended; for people

 private:
  void give_back(std::unique_ptr<RedisLink> link);
  std::unique_ptr<RedisLink> take_idle();
  void connect_failed(Error error, bool telling);

  const RedisAddress address_;
  const RedisNodeOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable returned_;
  // Guarded by mutex_.
  Breaker breaker_;
  std::vector<std::unique_ptr<RedisLink>> idle_;
  std::size_t lent_ = 0;
  std::chrono::milliseconds backoff_{0};
  Deadline next_connect_{};
  SeededRandom jitter_;
  Error last_error_;
};

}  // namespace cairn
