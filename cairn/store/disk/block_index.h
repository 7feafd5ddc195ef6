// SPDX-License-Identifier: Apache-2.0
// Which block lies where, and which may stay: the index of a folder in memory. Budgets, pins, leases and the order of
// eviction are a Residency's; what became of blocks that are gone is kept beside it. The index moves no bytes: who asks
// it to forget a block gives the block's space back.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <unordered_map>
#include <vector>

#include "cairn/store/disk/segment_log.h"
#include "cairn/store/residency.h"

namespace cairn::disk {

// Invariant: a block is resident exactly if it is indexed, or admitted and being written.
// Thread-compatible: the tier's mutex guards it.
class BlockIndex {
 public:
  struct Entry {
    Place place;
    BlockMeta meta;  // without parts
  };

  // kInvalidArgument for an unknown policy.
  static Result<BlockIndex> create(ResidencyOptions options);

  // Null when it is not there. Valid until the index changes.
  const Entry* find(const Digest& key) const;
  bool contains(const Digest& key) const { return entries_.contains(key); }
  std::size_t size() const { return entries_.size(); }
  void for_each(const std::function<void(const Entry&)>& visitor) const;

  // Writing a block: admitted first, then visible, or withdrawn. Between the two it is in use and not evicted.
  // Returns what has to be evicted before, by erase(), or nothing when the budgets leave no room.
  std::optional<std::vector<Digest>> admit(const BlockMeta& meta, std::uint64_t bytes);
  void insert(const BlockMeta& meta, Place place);
  void withdraw(const Digest& key);

  // A block that is there already, as after a start. False when the index has it.
  bool restore(const BlockMeta& meta, const Place& place);
  // Forgets the block and returns where it lay; nothing when it is unknown.
  std::optional<Place> erase(const Digest& key, Gone why);
  // The block lies elsewhere now, in the form that `meta` says; pins, leases, age and last use stay. Returns where it
  // lay. Requires: it is there, and takes no more bytes than before.
  Place move(const BlockMeta& meta, Place place);
  // The same for another record that recovery prefers, of any size.
  Place exchange(const BlockMeta& meta, Place place);
  // What has to go for the budgets, to be erased.
  std::vector<Digest> shrink();
  // Those that lie in this segment.
  std::vector<Digest> in_segment(const Segment& segment) const;

  // Pins, leases and uses of blocks that are there; has_room and budgets.
  Residency& residency() { return residency_; }
  const Residency& residency() const { return residency_; }

  // A record of another format version was met.
  void note_foreign(const Digest& key, std::uint32_t version);
  std::uint64_t foreign() const { return foreign_; }
  std::uint32_t foreign_version() const { return foreign_version_; }
  EvictionHistory& gone() { return gone_; }
  const EvictionHistory& gone() const { return gone_; }

 private:
  explicit BlockIndex(Residency residency) : residency_(std::move(residency)) {}

  Residency residency_;
  std::unordered_map<Digest, Entry, DigestHash> entries_;
  EvictionHistory gone_;
  std::uint64_t foreign_ = 0;
  std::uint32_t foreign_version_ = 0;
};

}  // namespace cairn::disk
