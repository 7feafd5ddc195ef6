// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/redis/redis_cluster.h"

#include <algorithm>
#include <set>

#include "cairn/store/redis/redis_connect.h"

namespace cairn {
namespace {

constexpr std::size_t kMaxNodes = 1024;
constexpr std::chrono::milliseconds kRefreshEvery(100), kRefreshTime(500);
constexpr std::string_view kWantsPassword =
    ": it wants a password: give it in the URL, in a file or as CAIRN_REDIS_PASSWORD";

struct SlotRange {
  std::size_t first, last;
  RedisAddress address;
};

// [[first, last, [host, port, ...], replicas...], ...]; what makes no sense is left out.
std::vector<SlotRange> read_slots(const RedisReply& reply, const RedisAddress& from) {
  using Kind = RedisReply::Kind;
  std::vector<SlotRange> ranges;
  for (const RedisReply& range : reply.items) {
    if (!range.is(Kind::kArray) || range.items.size() < 3) continue;
    const RedisReply &first = range.items[0], &last = range.items[1], &node = range.items[2];
    if (!first.is(Kind::kInteger) || !last.is(Kind::kInteger) || !node.is(Kind::kArray)) continue;
    if (node.items.size() < 2 || !node.items[1].is(Kind::kInteger)) continue;
    if (first.integer < 0 || last.integer < first.integer || last.integer >= std::int64_t{kRedisSlots}) continue;
    // A node without a host, or with "?" for one it does not know, is where the answer came from.
    const std::string& host = node.items[0].text;
    const std::string here = host.empty() || host == "?" ? from.host : host;
    const auto address = parse_redis_endpoint(here + ":" + std::to_string(node.items[1].integer));
    if (!address) continue;
    ranges.push_back({static_cast<std::size_t>(first.integer), static_cast<std::size_t>(last.integer), *address});
  }
  return ranges;
}

}  // namespace

RedisCluster::RedisCluster(RedisAddress seed, RedisNodeOptions options, bool cluster)
    : options_(std::move(options)), clustered_(cluster), seed_(std::make_shared<RedisNode>(seed, options_)) {
  nodes_.emplace(seed_->address(), seed_);
}

Status RedisCluster::connect(Deadline deadline) {
  CAIRN_TRY_VOID(knock(deadline));
  if (!clustered_) return {};
  return learn(*seed_, deadline);
}

Status RedisCluster::knock(Deadline deadline) {
  auto lease = seed_->borrow(deadline);
  if (!lease) {
    const Error error = seed_->last_error();
    return std::unexpected(error.message.empty() ? Error{ErrorCode::kIo, seed_->address().text() + ": out of time"}
                                                 : error);
  }
  RedisLink& link = lease->link();
  link.command({"EXISTS", "kv1:recipe:"});
  const auto reply = link.receive(deadline);
  const std::string where = seed_->address().text();
  if (!reply) {
    return fail(ErrorCode::kIo, where + (link.fault() == LinkFault::kGarbage  ? ": it is no Redis server"
                                         : link.fault() == LinkFault::kClosed ? ": it closed the connection"
                                                                              : ": it does not answer in time"));
  }
  if (reply->is(RedisReply::Kind::kError)) {
    const std::string word = redis_error_word(reply->text);
    if (word == "NOAUTH") return fail(ErrorCode::kInvalidArgument, where + std::string(kWantsPassword));
    if (word == "LOADING") return fail(ErrorCode::kIo, where + ": it is still loading its data");
    const bool of_cluster = word == "MOVED" || word == "ASK" || word == "CLUSTERDOWN";
    if (of_cluster && !clustered_) {
      return fail(ErrorCode::kInvalidArgument, where + ": it is part of a cluster: add cluster=1 to the URL");
    }
    if (!of_cluster) return fail(ErrorCode::kInvalidArgument, where + ": it refuses commands (" + word + ")");
  }
  return {};
}

Status RedisCluster::learn(RedisNode& from, Deadline deadline) {
  auto lease = from.borrow(deadline);
  if (!lease) return std::unexpected(Error{ErrorCode::kIo, from.address().text() + ": no connection"});
  lease->link().command({"CLUSTER", "SLOTS"});
  const auto reply = lease->link().receive(deadline);
  if (!reply) return fail(ErrorCode::kIo, from.address().text() + ": no answer to CLUSTER SLOTS");
  if (!reply->is(RedisReply::Kind::kArray)) {
    return fail(ErrorCode::kInvalidArgument, from.address().text() + ": it is no cluster: leave out cluster=1");
  }
  const std::vector<SlotRange> ranges = read_slots(*reply, from.address());
  const std::lock_guard lock(mutex_);
  std::array<Node, kRedisSlots> slots;
  for (const SlotRange& range : ranges) {
    const Node node = node_at_locked(range.address);
    for (std::size_t slot = range.first; slot <= range.last; ++slot) slots[slot] = node;
  }
  slots_ = std::move(slots);
  return {};
}

RedisCluster::Node RedisCluster::node_for(std::uint16_t slot) const {
  if (!clustered_) return seed_;
  const std::lock_guard lock(mutex_);
  return slots_[slot % kRedisSlots];
}

// Requires: mutex_ is held.
RedisCluster::Node RedisCluster::node_at_locked(const RedisAddress& address) {
  const auto found = nodes_.find(address);
  if (found != nodes_.end()) return found->second;
  if (nodes_.size() >= kMaxNodes) return nullptr;
  return nodes_.emplace(address, std::make_shared<RedisNode>(address, options_)).first->second;
}

RedisCluster::Node RedisCluster::node_at(const RedisAddress& address) {
  const std::lock_guard lock(mutex_);
  return node_at_locked(address);
}

void RedisCluster::moved(std::uint16_t slot, const RedisAddress& address) {
  const std::lock_guard lock(mutex_);
  if (Node node = node_at_locked(address)) slots_[slot % kRedisSlots] = std::move(node);
}

void RedisCluster::refresh(const RedisNode* avoid, Deadline deadline) {
  std::vector<Node> nodes;
  {
    const std::lock_guard lock(mutex_);
    if (!clustered_ || refreshing_ || !passed(next_refresh_)) return;
    refreshing_ = true;
    for (const auto& [address, node] : nodes_) nodes.push_back(node);
  }
  std::ranges::stable_partition(nodes, [&](const Node& node) { return node.get() != avoid; });
  for (const Node& node : nodes) {
    if (passed(deadline) || learn(*node, std::min(deadline, deadline_in(kRefreshTime)))) break;
  }
  const std::lock_guard lock(mutex_);
  refreshing_ = false;
  next_refresh_ = deadline_in(kRefreshEvery);
}

std::vector<RedisCluster::Node> RedisCluster::masters() const {
  if (!clustered_) return {seed_};
  const std::lock_guard lock(mutex_);
  std::set<Node> masters(slots_.begin(), slots_.end());
  masters.erase(nullptr);
  return {masters.begin(), masters.end()};
}

}  // namespace cairn
