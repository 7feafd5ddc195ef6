// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/redis/redis_node.h"

#include <algorithm>
#include <random>
#include <utility>

#include "cairn/store/redis/redis_connect.h"

namespace cairn {
namespace {

constexpr std::chrono::milliseconds kFirstBackoff(10), kMaxBackoff(1'000);

}  // namespace

RedisNode::RedisNode(RedisAddress address, RedisNodeOptions options)
    : address_(std::move(address)),
      options_(std::move(options)),
      breaker_(options_.breaker),
      jitter_(std::random_device{}()) {}

// An idle connection that still is one. Requires: mutex_ is held.
std::unique_ptr<RedisLink> RedisNode::take_idle() {
  while (!idle_.empty()) {
    std::unique_ptr<RedisLink> link = std::move(idle_.back());
    idle_.pop_back();
    if (link->idle()) return link;
  }
  return nullptr;
}

std::expected<RedisNode::Lease, BlockStatus> RedisNode::borrow(Deadline deadline) {
  {
    std::unique_lock lock(mutex_);
    if (!returned_.wait_until(lock, deadline, [&] { return lent_ < options_.connections; })) {
      return std::unexpected(BlockStatus::kTimeout);
    }
    const Deadline now = std::chrono::steady_clock::now();
    std::unique_ptr<RedisLink> link = take_idle();
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
  auto link = redis_connect(address_, options_.login, options_.silence, until);
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
void RedisNode::connect_failed(Error error, bool telling) {
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

void RedisNode::give_back(std::unique_ptr<RedisLink> link) {
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

std::chrono::milliseconds RedisNode::resting() const {
  const std::lock_guard lock(mutex_);
  return breaker_.resting(std::chrono::steady_clock::now());
}

Error RedisNode::last_error() const {
  const std::lock_guard lock(mutex_);
  return last_error_;
}

}  // namespace cairn
