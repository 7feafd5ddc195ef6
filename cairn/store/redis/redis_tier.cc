// SPDX-License-Identifier: Apache-2.0
// Opening, and the loop that all operations on blocks share: by server, with retries within the deadline.
#include "cairn/store/redis/redis_tier.h"

#include <algorithm>
#include <cstdlib>
#include <thread>
#include <utility>

#include "cairn/base/file.h"
#include "cairn/store/redis/link.h"
#include "cairn/store/residency.h"

namespace cairn::redis {
namespace {

constexpr std::size_t kMaxPasswordBytes = 4096;
constexpr std::size_t kMaxGroup = 64;  // blocks in one go
constexpr int kMaxTries = 4;
constexpr std::chrono::milliseconds kFirstWait(20);

Result<std::string> find_password(const RedisTierOptions& options) {
  if (!options.password_file.empty()) {
    CAIRN_TRY(const auto bytes, read_file(options.password_file, kMaxPasswordBytes));
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return std::string(text.substr(0, text.find_first_of("\r\n")));
  }
  const char* const variable = std::getenv("CAIRN_REDIS_PASSWORD");
  return std::string(variable != nullptr ? variable : "");
}

}  // namespace

Result<std::unique_ptr<RedisTier>> RedisTier::open(RedisTierOptions options) {
  CAIRN_TRY(Url url, parse_url(options.url));
  if (options.slice_bytes == 0 || options.slice_bytes > kMaxSliceBytes || options.connections == 0 ||
      options.window_bytes == 0 || options.ttl.count() < 0) {
    return fail(ErrorCode::kInvalidArgument, "Redis options: slices of 1 byte to 1 MiB, a window, a connection");
  }
  if (url.login.password.empty()) {
    CAIRN_TRY(url.login.password, find_password(options));
  }
  if (url.ttl_s) options.ttl = std::chrono::seconds(*url.ttl_s);
  options.url.clear();  // it may hold a password
  const Deadline deadline = deadline_in(options.connect_timeout);
  std::unique_ptr<RedisTier> tier(new RedisTier(std::move(options), url));
  CAIRN_TRY_VOID(tier->cluster_.connect(deadline));
  return tier;
}

Result<std::unique_ptr<Tier>> open_tier(RedisTierOptions options) {
  CAIRN_TRY(auto tier, RedisTier::open(std::move(options)));
  return tier;
}

RedisTier::RedisTier(RedisTierOptions options, const Url& url)
    : options_(std::move(options)),
      name_(url.address.text()),
      cluster_(url.address,
               {.login = url.login,
                .connections = options_.connections,
                .connect_timeout = options_.connect_timeout,
                .silence = options_.silence,
                .breaker = options_.breaker},
               url.cluster),
      window_(options_.window_bytes) {}

std::shared_ptr<Node> RedisTier::node_of(const Task& task) const {
  return task.ask != nullptr ? task.ask : cluster_.node_for(task.slot);
}

// Another try, if there were not too many.
void RedisTier::retry(Task& task, bool wait) {
  task.again = true;
  task.wait |= wait;
  if (++task.tries >= kMaxTries) task.end(BlockStatus::kBroken);
}

// A server answered with an error.
void RedisTier::refused(Node& node, Task& task, const Reply& reply) {
  if (task.over()) return;
  const std::string word = error_word(reply.text);
  if (word == "OOM") return task.end(BlockStatus::kFull);
  if (word == "WRONGTYPE") return task.end(BlockStatus::kMiss);
  if (word == "MOVED" || word == "ASK") {
    // "MOVED 3999 127.0.0.1:6381"; without a host it is the one that answers.
    auto address = parse_endpoint(reply.text.substr(reply.text.rfind(' ') + 1));
    if (!address || !cluster_.clustered()) return task.end(BlockStatus::kBroken);
    if (address->host.empty()) address->host = node.address().host;
    task.ask = nullptr;
    if (word == "ASK") {
      task.ask = cluster_.node_at(*address);
    } else {
      cluster_.moved(task.slot, *address);
    }
    return retry(task, false);
  }
  if (word == "TRYAGAIN" || word == "LOADING" || word == "CLUSTERDOWN" || word == "READONLY" || word == "MASTERDOWN") {
    return retry(task, true);
  }
  task.end(BlockStatus::kBroken);
}

void RedisTier::run_group(const std::shared_ptr<Node>& node, const Tasks& group, Deadline deadline, const Step& step) {
  LinkFault fault = LinkFault::kNone;
  BlockStatus failed = BlockStatus::kBroken;
  bool refresh = node == nullptr;
  if (node != nullptr) {
    auto lease = node->borrow(deadline);
    if (lease) {
      Pipeline pipeline(lease->link(), window_, deadline);
      step(*node, pipeline, group);
      fault = lease->link().fault();
    } else {
      failed = lease.error();
    }
    if (lease && fault == LinkFault::kNone) return;
    if (fault == LinkFault::kTimeout || (fault == LinkFault::kSilent && passed(deadline))) {
      failed = BlockStatus::kTimeout;
    }
    refresh = failed == BlockStatus::kBroken;
  }
  if (refresh && cluster_.clustered()) cluster_.refresh(node.get(), deadline);
  for (Task* const task : group) {
    if (task->ended) continue;
    task->ask = nullptr;
    // Another node may serve the slot now, and a connection that was closed may have been an old one.
    const bool elsewhere = cluster_.clustered() && node_of(*task) != node && node_of(*task) != nullptr;
    if (failed == BlockStatus::kBroken && (elsewhere || fault == LinkFault::kClosed)) {
      retry(*task, false);
    } else {
      task->end(failed);
    }
  }
}

void RedisTier::work(std::vector<Task>& tasks, Deadline deadline, const Step& step,
                     const std::function<void(Task&)>& done) {
  Tasks pending;
  for (Task& task : tasks) {
    task.slot = slot_of(task.key.hex());  // what the braces hold in all names of the block
    pending.push_back(&task);
  }
  while (!pending.empty()) {
    Tasks group;
    if (passed(deadline)) {
      for (Task* const task : pending) task->end(BlockStatus::kTimeout);
      group = pending;
    } else {
      const std::shared_ptr<Node> node = node_of(*pending.front());
      int tries = 0;
      for (Task* const task : pending) {
        if (group.size() == kMaxGroup) break;
        if (node_of(*task) != node) continue;
        group.push_back(task);
        task->again = false;
        if (std::exchange(task->wait, false)) tries = std::max(tries, task->tries);
      }
      if (tries > 0) {
        std::this_thread::sleep_until(std::min(deadline, deadline_in(kFirstWait * (1 << tries))));
        if (cluster_.clustered()) cluster_.refresh(nullptr, deadline);
      }
      run_group(node, group, deadline, step);
    }
    for (Task* const task : group) {
      if (task->ended) done(*task);
    }
    std::erase_if(pending, [](const Task* task) { return task->ended; });
  }
}

void RedisTier::finished(Task& task, bool reading) {
  const std::lock_guard lock(mutex_);
  switch (task.status) {
    case BlockStatus::kOk: stats_.hits += reading; break;
    case BlockStatus::kMiss: stats_.misses += reading; break;
    case BlockStatus::kExpired: ++stats_.expired; break;
    case BlockStatus::kCorrupt: ++stats_.corrupt; break;
    case BlockStatus::kFull: ++stats_.refused; break;
    case BlockStatus::kTimeout: ++stats_.timeouts; break;
    case BlockStatus::kBroken: ++stats_.failures; break;
    case BlockStatus::kReadOnly: break;
  }
}

void RedisTier::note_foreign(const Digest& key, std::uint32_t version) {
  const std::lock_guard lock(mutex_);
  ++stats_.foreign;
  stats_.foreign_version = version;
  gone_.note(key, Gone::kForeign);
}

Gone RedisTier::what_became_of(const Digest& key) {
  const std::lock_guard lock(mutex_);
  return gone_.find(key);
}

// The TTL of what is written now, as PX takes it; empty for none.
std::string RedisTier::expiry_ms(std::int64_t expires_s, std::int64_t extra_s) const {
  std::int64_t seconds = options_.ttl.count();
  if (expires_s != 0) {
    const std::int64_t left = std::max<std::int64_t>(expires_s - unix_seconds(), 1);
    seconds = seconds == 0 ? left : std::min(seconds, left);
  }
  return seconds == 0 ? "" : std::to_string((seconds + extra_s) * 1000);
}

TierStats RedisTier::stats() const {
  TierStats stats;
  {
    const std::lock_guard lock(mutex_);
    stats = stats_;
  }
  const auto nodes = cluster_.masters();
  stats.note = cluster_.clustered() ? "cluster of " + std::to_string(nodes.size()) : "one server";
  stats.note += ", " + std::to_string(options_.connections) + " connections" + (nodes.size() > 1 ? " each" : "");
  for (const auto& node : nodes) {
    const auto resting = std::chrono::ceil<std::chrono::seconds>(node->resting());
    if (resting.count() == 0) continue;
    stats.note += "; resting " + std::to_string(resting.count()) + " s after failures: " + node->last_error().message;
  }
  return stats;
}

}  // namespace cairn::redis
