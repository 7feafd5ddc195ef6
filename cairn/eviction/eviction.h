// SPDX-License-Identifier: Apache-2.0
// Which cached block goes next. A policy sees keys, sizes and uses, never bytes: the owner (an index, a tier, the
// simulator) keeps the budget, asks for a victim, drops it and says so.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/hash.h"
#include "cairn/base/result.h"

namespace cairn {

struct EvictionItem {
  Digest key;
  Digest parent;            // key of the block before it, or the root of its chain
  std::uint64_t bytes = 0;  // what the budget is charged
  std::uint32_t depth = 0;  // blocks before it in its prompt
  std::uint64_t tenant = 0;
};

// Deterministic: the same calls give the same victims. Time is the number of calls. Thread-compatible.
class EvictionPolicy {
 public:
  virtual ~EvictionPolicy() = default;

  // The block is resident now. For a block that is resident already this is a use.
  virtual void inserted(const EvictionItem& item) = 0;
  // A lookup found the block. Keys that are not resident are ignored, here and in removed().
  virtual void used(const Digest& key) = 0;
  // The same block takes another number of bytes now. Neither an insertion nor a use; unknown keys are ignored.
  // Policies that do not look at bytes have nothing to do.
  virtual void resized(const Digest&, std::uint64_t) {}
  // The owner dropped the block, because it was the victim or for reasons of its own.
  virtual void removed(const Digest& key) = 0;
  // Takes removed() of a victim back: the owner kept the block. Neither an insertion nor a use. Of several victims the
  // last one comes first.
  virtual void kept(const EvictionItem& item) = 0;

  // The resident block to drop next among those that `may_go` lets go (a leased or pinned one may not); nothing when
  // there is none. The block stays until removed(). Asks about each block at most once, and about few unless many are
  // refused.
  virtual std::optional<Digest> victim(const std::function<bool(const Digest&)>& may_go) = 0;

  // Keys of blocks that are gone but remembered; bounded by a multiple of the resident ones.
  virtual std::size_t ghosts() const { return 0; }
  virtual std::string_view name() const = 0;
};

// The policies; docs/eviction.md compares them.
std::unique_ptr<EvictionPolicy> make_lru(std::uint64_t capacity_bytes);
std::unique_ptr<EvictionPolicy> make_s3fifo(std::uint64_t capacity_bytes);
std::unique_ptr<EvictionPolicy> make_cost(std::uint64_t capacity_bytes);
std::unique_ptr<EvictionPolicy> make_leaf_lru();  // for owners of chains alone, see make_chain_policy()

// By name. The capacity in bytes is a hint for policies that divide it; 0: unknown, they go by what is resident.
// Errors: kInvalidArgument (no such policy; the message lists them).
Result<std::unique_ptr<EvictionPolicy>> make_eviction_policy(std::string_view name, std::uint64_t capacity_bytes_hint);

// The same names for an owner of chains, which inserts a block behind its parent, lets only blocks go that nothing
// follows, and calls used() for each block of a chain or for the last alone: "lru" is then one of leaves, which is
// O(log n) where the general one would step over every block that something follows.
Result<std::unique_ptr<EvictionPolicy>> make_chain_policy(std::string_view name, std::uint64_t capacity_bytes_hint);

std::vector<std::string> eviction_policy_names();

}  // namespace cairn
