// SPDX-License-Identifier: Apache-2.0
// The servers of a tier. A server has a few connections that operations borrow, and a breaker that lets it rest after
// failures. Which of them has a key is said by the one that there is, or by the slots of a Redis cluster.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <expected>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cairn/base/clock.h"
#include "cairn/base/random.h"
#include "cairn/base/result.h"
#include "cairn/store/redis/link.h"
#include "cairn/store/redis/names.h"
#include "cairn/store/tier.h"

namespace cairn::redis {

struct BreakerOptions {
  std::size_t failures = 5;                 // this many failures
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

struct NodeOptions {
  Login login;
  std::size_t connections = 2;
  std::chrono::milliseconds connect_timeout{1'000};
  std::chrono::milliseconds silence{5'000};  // a server that says nothing for so long is broken
  BreakerOptions breaker;
};

// Thread-safe. Outlives its leases.
class Node {
 public:
  // A connection, the borrower's alone. Returning it tells the breaker how it went.
  class Lease {
   public:
    Lease(Node* node, std::unique_ptr<Link> link) : node_(node), link_(std::move(link)) {}
    Lease(Lease&&) = default;
    Lease& operator=(Lease&&) = delete;
    ~Lease() {
      if (link_ != nullptr) node_->give_back(std::move(link_));
    }
    Link& link() { return *link_; }

   private:
    Node* node_;
    std::unique_ptr<Link> link_;
  };

  Node(Address address, NodeOptions options);

  // Waits for a connection where all are lent, and opens one where there is room. kTimeout when the deadline came
  // first, kBroken when the server rests or cannot be reached.
  std::expected<Lease, BlockStatus> borrow(Deadline deadline);

  const Address& address() const { return address_; }
  std::chrono::milliseconds resting() const;  // 0: it does not
  Error last_error() const;                   // why the last connection could not be made or ended; for people

 private:
  void give_back(std::unique_ptr<Link> link);
  std::unique_ptr<Link> take_idle();
  void connect_failed(Error error, bool telling);

  const Address address_;
  const NodeOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable returned_;
  // Guarded by mutex_.
  Breaker breaker_;
  std::vector<std::unique_ptr<Link>> idle_;
  std::size_t lent_ = 0;
  std::chrono::milliseconds backoff_{0};
  Deadline next_connect_{};
  SeededRandom jitter_;
  Error last_error_;
};

inline constexpr std::size_t kSlots = 16384;

// A slots map is learned from any node and corrected by what nodes answer. Thread-safe.
class Cluster {
 public:
  using NodePtr = std::shared_ptr<Node>;

  Cluster(Address seed, NodeOptions options, bool cluster);

  // Whether the server is there, lets this client in, and is what the options say. Errors are one line: kIo when it
  // cannot be reached, kInvalidArgument for a refused login or where `cluster` is wrong.
  Status connect(Deadline deadline);

  // Null where no node serves the slot.
  NodePtr node_for(std::uint16_t slot) const;
  // The node of an address that a server named; null when there are more than a cluster can sensibly have.
  NodePtr node_at(const Address& address);
  // A server says where a slot has moved to.
  void moved(std::uint16_t slot, const Address& address);
  // Asks for the slots map anew, not the node to avoid if there is another. Not more often than now and then, and one
  // thread at a time; others go on with what there is.
  void refresh(const Node* avoid, Deadline deadline);

  bool clustered() const { return clustered_; }
  // Those that serve slots.
  std::vector<NodePtr> masters() const;

 private:
  Status knock(Deadline deadline);
  Status learn(Node& from, Deadline deadline);
  NodePtr node_at_locked(const Address& address);

  const NodeOptions options_;
  const bool clustered_;
  const NodePtr seed_;
  mutable std::mutex mutex_;
  // Guarded by mutex_.
  std::map<Address, NodePtr> nodes_;
  std::array<NodePtr, kSlots> slots_;
  bool refreshing_ = false;
  Deadline next_refresh_{};
};

}  // namespace cairn::redis
