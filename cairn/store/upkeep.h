// SPDX-License-Identifier: Apache-2.0
// What people do with a store: look at all of it, check every byte, make cold blocks smaller, move blocks elsewhere,
// and ask why a prompt's blocks are not there. On tiers, in portions, so that it may be stopped between any two.
//
// Functions without state, on the calling thread and, to compress, on threads of their own that are gone when they
// return. Others may read and write the tiers meanwhile, for tiers are thread-safe. Nothing is kept of tiers, keys and
// callbacks.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "cairn/store/tier.h"

namespace cairn::upkeep {

// How long each operation on a tier may take, how far it is, and whether to end early. `stopped` may be called from
// several threads at once.
struct Watch {
  std::chrono::seconds patience{60};
  std::function<void(double share)> progress = [](double) {};
  std::function<bool()> stopped = [] { return false; };

  Deadline deadline() const { return deadline_in(patience); }
};

// Errors: those of Tier::list.
Result<std::vector<StoredBlock>> all_blocks(Tier& tier, Deadline deadline);
// Those whose keys begin with `prefix`. kNotFound when there are none.
Result<std::vector<StoredBlock>> blocks_with_prefix(Tier& tier, const std::string& prefix, Deadline deadline);

struct Summary {
  struct Group {
    std::uint64_t blocks = 0, bytes = 0;
    std::uint64_t longest = 0;  // blocks of the longest prefix
  };
  std::map<std::pair<Digest, std::uint64_t>, Group> groups;  // by recipe and tenant
  std::uint64_t bytes = 0, pinned = 0;                       // pinned: blocks
  std::uint64_t compressed = 0, compressed_bytes = 0;
};
Summary summarize(std::span<const StoredBlock> blocks);

// Reads every block and checks every byte; damaged ones are erased.
struct Verified {
  std::uint64_t blocks = 0, bytes = 0;  // listed; read and sound
  std::map<BlockStatus, std::uint64_t> counts;
  std::vector<Digest> damaged;
  std::uint64_t torn = 0;  // noticed when the store was opened
};
Result<Verified> verify(Tier& tier, const Watch& watch);

struct CompressOptions {
  std::int64_t older_than_s = 0;
  int level = 1;                  // 3 takes 0.5 % more off f16 pages, in half as much time again
  const StoreKey* key = nullptr;  // of encrypted blocks; they stay encrypted
};
struct Compressed {
  std::uint64_t compressed = 0, before = 0, after = 0;  // blocks, and what they took and take
  std::uint64_t already = 0;                            // were compressed before
  std::uint64_t left = 0;                               // would not take a page less
  std::uint64_t damaged = 0, locked = 0, gone = 0, refused = 0;
  std::uint64_t bytes_seen = 0;
  double seconds = 0;  // of compressing and verifying, without the store's reads and writes
};
// The oldest blocks first: when it is stopped the coldest are done. Each is verified before it takes the place of what
// was there. Uses all cores.
Result<Compressed> compress(Tier& tier, const CompressOptions& options, const Watch& watch);

struct Moved {
  std::uint64_t blocks = 0, moved = 0, bytes = 0;
  std::uint64_t damaged = 0, refused = 0, pins_lost = 0;
  bool same_store = false;  // both are one: nothing was lost, nothing more was done
};
// Record by record as they are stored: nothing is decrypted or encoded anew, and nothing that is damaged is passed on.
// A block leaves `from`, unless it is copied, when it has been read back from `to`. kNotFound when no key begins so.
Result<Moved> move(Tier& from, Tier& to, const std::string& prefix, bool copy, const Watch& watch);

// A block of 1 MiB written, read back and erased.
struct Probe {
  BlockStatus put = BlockStatus::kBroken, got = BlockStatus::kBroken;
  double write_ms = 0, read_ms = 0;

  bool good() const { return put == BlockStatus::kOk && got == BlockStatus::kOk; }
};
Probe probe(Tier& tier, Deadline deadline);

// The same prompt under other recipes.
struct OtherRecipes {
  Digest mine;
  std::function<Digest(const Digest& recipe, std::size_t block)> key;  // of a block of the prompt
  std::function<std::string(const std::string& text)> difference;      // of a recipe's description and mine
};
struct Explained {
  Digest key;
  BlockStatus status = BlockStatus::kMiss;
  std::string why;
  bool usable = false;
};
// For each block of a prompt, in order, where it is or why it is not. `key` may be null.
std::vector<Explained> explain(Tier& tier, std::span<const Digest> keys, const StoreKey* key, const OtherRecipes& other,
                               Deadline deadline);

}  // namespace cairn::upkeep
