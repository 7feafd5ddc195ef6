// SPDX-License-Identifier: Apache-2.0
// What a tier holds, as far as budgets, pins, leases and eviction go: it decides, the tier moves the bytes. Whatever
// the policy, a block goes before the block it follows, since what follows a gap is out of reach. And what became of
// blocks that are not there any more.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cairn/base/clock.h"
#include "cairn/base/hash.h"
#include "cairn/base/result.h"
#include "cairn/eviction/eviction.h"
#include "cairn/store/record/block_record.h"

namespace cairn {

// What was looked up is about to be read.
inline constexpr std::chrono::seconds kReadLease(10);

struct ResidencyOptions {
  std::uint64_t budget_bytes = 0;
  std::uint64_t tenant_budget_bytes = 0;  // of each tenant; 0: what the others do not need
  std::string policy = "cost";
};

// A tenant that is over its own budget pays with its own blocks. When the whole is full, the tenant with the most bytes
// pays, but none that holds no more than an equal part: tenants do not evict each other's blocks. Thread-compatible:
// its tier holds a lock.
class Residency {
 public:
  // kInvalidArgument for an unknown policy.
  static Result<Residency> create(ResidencyOptions options);

  struct Admission {
    bool admitted = false;
    std::vector<Digest> evict;  // before writing; already removed here
  };
  // Decides before anything is written. Both budgets hold at all times: what does not fit after evicting is refused,
  // and then nothing is evicted. A block whose parent is not here costs no other its place: it may be out of reach. An
  // admitted block counts from now on.
  Admission admit(const BlockMeta& meta, std::uint64_t bytes);
  // Adds what is there already, as after a start; false when it is known. Budgets are kept by shrink() afterwards.
  bool restore(const BlockMeta& meta, std::uint64_t bytes);
  // What has to go for the budgets, as the policy wants it; already removed here. Pinned blocks go last.
  std::vector<Digest> shrink();

  // Whether this many more bytes would keep the budgets without anything being evicted.
  bool has_room(std::uint64_t tenant, std::uint64_t bytes_of_tenant, std::uint64_t bytes) const;
  // The block takes this many bytes now; pins and leases stay. Requires: not more than before.
  void resized(const Digest& key, std::uint64_t bytes);
  void used(const Digest& key);
  void removed(const Digest& key);
  // Neither pinned nor leased blocks are evicted.
  bool pin(const Digest& key, std::int64_t until_s);
  std::int64_t pinned_until(const Digest& key) const;
  // A lease of who will read the block: over when as many uses have ended as leases were taken, or at `until`.
  void lease(const Digest& key, Deadline until);
  // Of those who read or write the block: ended by the last of them.
  void begin_use(const Digest& key, Deadline until);
  void end_use(const Digest& key);

  std::uint64_t bytes() const { return bytes_; }
  std::uint64_t budget() const { return options_.budget_bytes; }
  std::size_t blocks() const { return items_.size(); }
  std::uint64_t tenant_bytes(std::uint64_t tenant) const;

 private:
  struct Item {
    EvictionItem what;
    std::int64_t pinned_until_s = 0;
    Deadline leased_until{}, used_until{};
    std::uint32_t leases = 0, users = 0;
  };
  struct Tenant {
    std::uint64_t bytes = 0;
    std::unique_ptr<EvictionPolicy> policy;
  };
  struct Holder {
    std::uint64_t bytes, tenant;
  };
  using Freed = std::map<std::uint64_t, std::uint64_t>;  // bytes of chosen victims, by tenant
  explicit Residency(ResidencyOptions options) : options_(std::move(options)) {}
  std::uint64_t tenant_budget() const;
  bool has_children(const Digest& key) const { return children_.contains(key); }
  bool may_go(const Item& item, std::int64_t now_s) const;
  void count_child(const Digest& parent, int change);
  void add(const BlockMeta& meta, std::uint64_t bytes);
  EvictionPolicy& policy_of(const Item& item) { return *tenants_.at(item.what.tenant).policy; }
  std::vector<Holder> holders(const Freed& freed) const;
  std::optional<Digest> victim_for(const BlockMeta& meta, std::uint64_t bytes, const Freed& freed);

  ResidencyOptions options_;
  std::unordered_map<Digest, Item, DigestHash> items_;
  std::unordered_map<Digest, std::uint32_t, DigestHash> children_;  // held, by their parent, whether held or not
  std::map<std::uint64_t, Tenant> tenants_;                         // those with blocks
  std::uint64_t bytes_ = 0;
};

std::int64_t unix_seconds();

// As stored: never change a number. kForeign: it has another format version than this build reads.
enum class Gone : std::uint8_t { kUnknown, kEvicted, kExpired, kDamaged, kErased, kForeign };

// The last 65,536 blocks that went, so that a miss can be explained. Thread-compatible. Goes by the first 8 bytes of
// keys: a wrong explanation is unlikely, and does no harm.
class EvictionHistory {
 public:
  void note(const Digest& key, Gone why);
  void forget(const Digest& key);  // it is there again
  Gone find(const Digest& key) const;

  std::vector<std::byte> bytes() const;  // as load() reads them
  void load(const std::string& path);    // what cannot be read is not known

 private:
  struct Entry {
    Gone why;
    std::uint64_t number;
  };
  void add(std::uint64_t id, Gone why);
  bool holds(const std::pair<std::uint64_t, std::uint64_t>& entry) const;

  std::unordered_map<std::uint64_t, Entry> why_;
  // Ids with the numbers of their entries, oldest first; those of forgotten entries stay for a while.
  std::deque<std::pair<std::uint64_t, std::uint64_t>> order_;
  std::uint64_t next_ = 0;
};

}  // namespace cairn
