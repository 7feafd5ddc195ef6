// SPDX-License-Identifier: Apache-2.0
// Which server has a key: the one there is, or the one that serves its slot in a Redis cluster.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/store/redis/redis_node.h"

namespace cairn {

inline constexpr std::size_t kRedisSlots = 16384;

// A slots map is learned from any node and corrected by what nodes answer. Thread-safe.
class RedisCluster {
 public:
  using Node = std::shared_ptr<RedisNode>;

  RedisCluster(RedisAddress seed, RedisNodeOptions options, bool cluster);

  // Whether the server is there, lets this client in, and is what the options say. Errors are one line: kIo when it
  // cannot be reached, kInvalidArgument for a refused login or where `cluster` is wrong.
  Status connect(Deadline deadline);

  // Null where nobody serves the slot.
  Node node_for(std::uint16_t slot) const;
  // The node of an address that a server named; null when there are more than a cluster can sensibly have.
  Node node_at(const RedisAddress& address);
  // A server says where a slot has moved to.
  void moved(std::uint16_t slot, const RedisAddress& address);
  // Asks for the slots map anew, not the node to avoid if there is another. Not more often than now and then, and one
  // thread at a time; others go on with what there is.
  void refresh(const RedisNode* avoid, Deadline deadline);

  bool clustered() const { return clustered_; }
  // Those that serve slots.
  std::vector<Node> masters() const;

 private:
  Status knock(Deadline deadline);
  Status learn(RedisNode& from, Deadline deadline);
  Node node_at_locked(const RedisAddress& address);

  const RedisNodeOptions options_;
  const bool clustered_;
  const Node seed_;
  mutable std::mutex mutex_;
  // Guarded by mutex_.
  std::map<RedisAddress, Node> nodes_;
  std::array<Node, kRedisSlots> slots_;
  bool refreshing_ = false;
  Deadline next_refresh_{};
};

}  // namespace cairn
