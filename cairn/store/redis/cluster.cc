// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/redis/cluster.h"

#include <algorithm>
#include <random>
#include <set>
#include <utility>

#include "cairn/store/redis/link.h"

namespace cairn::redis {
namespace {

constexpr std::chrono::milliseconds kFirstBackoff(10), kMaxBackoff(1'000);

constexpr std::size_t kMaxNodes = 1024;
constexpr std::chrono::milliseconds kRefreshEvery(100), kRefreshTime(500);
constexpr std::string_view kWantsPassword =
    ": it wants a password: give it in the URL, in a file or as CAIRN_REDIS_PASSWORD";

struct SlotRange {
  std::size_t first, last;
  Address address;
};

// [[first, last, [host, port, ...], replicas...], ...]; what makes no sense is left out.
std::vector<SlotRange> read_slots(const Reply& reply, const Address& from) {
  using Kind = Reply::Kind;
  std::vector<SlotRange> ranges;
  for (const Reply& range : reply.items) {
    if (!range.is(Kind::kArray) || range.items.size() < 3) continue;
    const Reply &first = range.items[0], &last = range.items[1], &node = range.items[2];
    if (!first.is(Kind::kInteger) || !last.is(Kind::kInteger) || !node.is(Kind::kArray)) continue;
    if (node.items.size() < 2 || !node.items[1].is(Kind::kInteger)) continue;
    if (first.integer < 0 || last.integer < first.integer || last.integer >= std::int64_t{kSlots}) continue;
    // A node without a host, or with "?" for one it does not know, is where the answer came from.
    const std::string& host = node.items[0].text;
    const std::string here = host.empty() || host == "?" ? from.host : host;
    const auto address = parse_endpoint(here + ":" + std::to_string(node.items[1].integer));
    if (!address) continue;
    ranges.push_back({static_cast<std::size_t>(first.integer), static_cast<std::size_t>(last.integer), *address});
  }
  return ranges;
}

}  // namespace

Node::Node(Address address, NodeOptions options)
    : address_(std::move(address)),
      options_(std::move(options)),
      breaker_(options_.breaker),
      jitter_(std::random_device{}()) {}

// An idle connection that still is one. Requires: mutex_ is held.
std::unique_ptr<Link> Node::take_idle() {
  while (!idle_.empty()) {
    std::unique_ptr<Link> link = std::move(idle_.back());
    idle_.pop_back();
    if (link->idle()) return link;
  }
  return nullptr;
}

std::expected<Node::Lease, BlockStatus> Node::borrow(Deadline deadline) {
  {
    std::unique_lock lock(mutex_);
    if (!returned_.wait_until(lock, deadline, [&] { return lent_ < options_.connections; })) {
      return std::unexpected(BlockStatus::kTimeout);
    }
    const Deadline now = std::chrono::steady_clock::now();
    std::unique_ptr<Link> link = take_idle();
    if (link == nullptr && now < next_connect_) return std::unexpected(BlockStatus::kBroken);
    if (!breaker_.admit(now)) {
      if (link != nullptr) idle_.push_back(std::move(link));
      return std::unexpected(BlockStatus::kBroken);
    }
    ++lent_;
    if (link != nullptr) return Lease(this, std::move(link));
  }
  const Deadline begun = std::chrono::steady_clock::now();
  const Deadline until = std::min(deadline, begun + options_.connect_timeout);
  auto link = open_link(address_, options_.login, options_.silence, until);
  const std::lock_guard lock(mutex_);
  if (link) {
    backoff_ = std::chrono::milliseconds(0);
    return Lease(this, *std::move(link));
  }
  const Deadline now = std::chrono::steady_clock::now();
  connect_failed(link.error(), now < until || now - begun >= kTellingWait);
  return std::unexpected(passed(deadline) ? BlockStatus::kTimeout : BlockStatus::kBroken);
}

// Requires: mutex_ is held.
void Node::connect_failed(Error error, bool telling) {
  --lent_;
  returned_.notify_all();
  last_error_ = std::move(error);
  if (!telling) return breaker_.neither();
  const Deadline now = std::chrono::steady_clock::now();
  breaker_.failure(now);
  backoff_ = std::clamp(backoff_ * 2, kFirstBackoff, kMaxBackoff);
  // Between half and all of it, so that clients of a server that comes back do not come at once.
  const auto half = static_cast<std::size_t>(backoff_.count() / 2);
  next_connect_ = now + backoff_ / 2 + std::chrono::milliseconds(jitter_.below(half + 1));
}

void Node::give_back(std::unique_ptr<Link> link) {
  {
    const std::lock_guard lock(mutex_);
    --lent_;
    switch (link->fault()) {
      case LinkFault::kNone:
        if (link->owed() == 0) {
          breaker_.success();
          idle_.push_back(std::move(link));
        } else {
          breaker_.neither();  // its replies belong to an operation that is over
        }
        break;
      case LinkFault::kTimeout: breaker_.neither(); break;
      case LinkFault::kSilent:
      case LinkFault::kClosed:
      case LinkFault::kGarbage: {
        const char* const why = link->fault() == LinkFault::kSilent   ? ": it does not answer"
                                : link->fault() == LinkFault::kClosed ? ": it closed the connection"
                                                                      : ": what it answers is no Redis protocol";
        last_error_ = {ErrorCode::kIo, address_.text() + why};
        breaker_.failure(std::chrono::steady_clock::now());
        break;
      }
    }
  }
  returned_.notify_all();
}

std::chrono::milliseconds Node::resting() const {
  const std::lock_guard lock(mutex_);
  return breaker_.resting(std::chrono::steady_clock::now());
}

Error Node::last_error() const {
  const std::lock_guard lock(mutex_);
  return last_error_;
}

Cluster::Cluster(Address seed, NodeOptions options, bool cluster)
    : options_(std::move(options)), clustered_(cluster), seed_(std::make_shared<Node>(seed, options_)) {
  nodes_.emplace(seed_->address(), seed_);
}

Status Cluster::connect(Deadline deadline) {
  CAIRN_TRY_VOID(knock(deadline));
  if (!clustered_) return {};
  return learn(*seed_, deadline);
}

Status Cluster::knock(Deadline deadline) {
  auto lease = seed_->borrow(deadline);
  if (!lease) {
    const Error error = seed_->last_error();
    return std::unexpected(error.message.empty() ? Error{ErrorCode::kIo, seed_->address().text() + ": out of time"}
                                                 : error);
  }
  Link& link = lease->link();
  link.command({"EXISTS", "kv1:recipe:"});
  const auto reply = link.receive(deadline);
  const std::string where = seed_->address().text();
  if (!reply) {
    return fail(ErrorCode::kIo, where + (link.fault() == LinkFault::kGarbage  ? ": it is no Redis server"
                                         : link.fault() == LinkFault::kClosed ? ": it closed the connection"
                                                                              : ": it does not answer in time"));
  }
  if (reply->is(Reply::Kind::kError)) {
    const std::string word = error_word(reply->text);
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

Status Cluster::learn(Node& from, Deadline deadline) {
  auto lease = from.borrow(deadline);
  if (!lease) return std::unexpected(Error{ErrorCode::kIo, from.address().text() + ": no connection"});
  lease->link().command({"CLUSTER", "SLOTS"});
  const auto reply = lease->link().receive(deadline);
  if (!reply) return fail(ErrorCode::kIo, from.address().text() + ": no answer to CLUSTER SLOTS");
  if (!reply->is(Reply::Kind::kArray)) {
    return fail(ErrorCode::kInvalidArgument, from.address().text() + ": it is no cluster: leave out cluster=1");
  }
  const std::vector<SlotRange> ranges = read_slots(*reply, from.address());
  const std::lock_guard lock(mutex_);
  std::array<NodePtr, kSlots> slots;
  for (const SlotRange& range : ranges) {
    const NodePtr node = node_at_locked(range.address);
    for (std::size_t slot = range.first; slot <= range.last; ++slot) slots[slot] = node;
  }
  slots_ = std::move(slots);
  return {};
}

Cluster::NodePtr Cluster::node_for(std::uint16_t slot) const {
  if (!clustered_) return seed_;
  const std::lock_guard lock(mutex_);
  return slots_[slot % kSlots];
}

// Requires: mutex_ is held.
Cluster::NodePtr Cluster::node_at_locked(const Address& address) {
  const auto found = nodes_.find(address);
  if (found != nodes_.end()) return found->second;
  if (nodes_.size() >= kMaxNodes) return nullptr;
  return nodes_.emplace(address, std::make_shared<Node>(address, options_)).first->second;
}

Cluster::NodePtr Cluster::node_at(const Address& address) {
  const std::lock_guard lock(mutex_);
  return node_at_locked(address);
}

void Cluster::moved(std::uint16_t slot, const Address& address) {
  const std::lock_guard lock(mutex_);
  if (NodePtr node = node_at_locked(address)) slots_[slot % kSlots] = std::move(node);
}

void Cluster::refresh(const Node* avoid, Deadline deadline) {
  std::vector<NodePtr> nodes;
  {
    const std::lock_guard lock(mutex_);
    if (!clustered_ || refreshing_ || !passed(next_refresh_)) return;
    refreshing_ = true;
    for (const auto& [address, node] : nodes_) nodes.push_back(node);
  }
  std::ranges::stable_partition(nodes, [&](const NodePtr& node) { return node.get() != avoid; });
  for (const NodePtr& node : nodes) {
    if (passed(deadline) || learn(*node, std::min(deadline, deadline_in(kRefreshTime)))) break;
  }
  const std::lock_guard lock(mutex_);
  refreshing_ = false;
  next_refresh_ = deadline_in(kRefreshEvery);
}

std::vector<Cluster::NodePtr> Cluster::masters() const {
  if (!clustered_) return {seed_};
  const std::lock_guard lock(mutex_);
  std::set<NodePtr> masters(slots_.begin(), slots_.end());
  masters.erase(nullptr);
  return {masters.begin(), masters.end()};
}

}  // namespace cairn::redis
