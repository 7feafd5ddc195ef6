// SPDX-License-Identifier: Apache-2.0
// One place where stored blocks live: memory, a folder, a Redis server. All tiers pass one conformance suite.
//
// Operations are batched, synchronous and bounded by a deadline; the store (store.h) makes them asynchronous. No
// operation fails as a whole: each block has its own status, and whatever goes wrong in a read is a miss that says why.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/clock.h"
#include "cairn/store/record/block_record.h"
#include "cairn/store/residency.h"

namespace cairn {

enum class BlockStatus : std::uint8_t {
  kOk,
  kMiss,      // not there
  kExpired,   // was there, and its time had come
  kCorrupt,   // was there and damaged; it is gone now
  kFull,      // a budget leaves no room: not written
  kTimeout,   // the deadline came first
  kBroken,    // the system or the server refuses, or the tier rests after failures
  kReadOnly,  // another process writes this tier
};

inline std::string_view block_status_name(BlockStatus status) {
  switch (status) {
    case BlockStatus::kOk: return "ok";
    case BlockStatus::kMiss: return "miss";
    case BlockStatus::kExpired: return "expired";
    case BlockStatus::kCorrupt: return "corrupt";
    case BlockStatus::kFull: return "full";
    case BlockStatus::kTimeout: return "timeout";
    case BlockStatus::kBroken: return "broken";
    case BlockStatus::kReadOnly: return "read only";
  }
  return "unknown";
}

// A block as a listing shows it.
struct StoredBlock {
  BlockMeta meta;
  std::uint64_t bytes = 0;          // that it takes in the tier
  std::int64_t pinned_until_s = 0;  // Unix time, 0 when it is not pinned
};

struct TierStats {
  std::uint64_t blocks = 0, bytes = 0, budget = 0;  // now; a budget of 0 is none
  std::uint64_t hits = 0, misses = 0, expired = 0, corrupt = 0;
  std::uint64_t puts = 0, refused = 0, evictions = 0, timeouts = 0, failures = 0;
  std::uint64_t bytes_read = 0, bytes_written = 0;
  std::uint64_t foreign = 0;          // records of another format version that were met: misses
  std::uint32_t foreign_version = 0;  // of the last of them
  std::string note;                   // what a person should know: "io_uring", "threads: io_uring is not permitted"
};

// "3 blocks have format version 1; this build reads version 2"; empty when none was met.
inline std::string foreign_text(const TierStats& stats) {
  if (stats.foreign == 0) return {};
  return std::to_string(stats.foreign) + (stats.foreign == 1 ? " block has " : " blocks have ") +
         format_version_text(stats.foreign_version);
}

// Why a tier takes no blocks.
enum class ReadOnly : std::uint8_t { kNo, kAsked, kNotPermitted, kInUse };
// "reading only: another process writes this store"; empty for kNo
inline std::string_view read_only_text(ReadOnly why) {
  switch (why) {
    case ReadOnly::kNo: break;
    case ReadOnly::kAsked: return "reading only";
    case ReadOnly::kNotPermitted: return "reading only: the folder may not be written";
    case ReadOnly::kInUse: return "reading only: another process writes this store";
  }
  return "";
}

// Blocks of which a tier has given the headers and goes on to read the parts. Thread-compatible; must not outlive its
// tier.
class PartReads {
 public:
  virtual ~PartReads() = default;
  // Parts before the `parts`-th of all blocks are there afterwards, and the records' copy_part may be called for them.
  // Returns the bytes read; `failed` hears of the blocks for which it went wrong, by their index in the get.
  virtual std::uint64_t read_to(std::size_t parts, const std::function<void(std::size_t, BlockStatus)>& failed) = 0;
};

// Thread-safe.
class Tier {
 public:
  // Called for each block of a get, in any order, from the calling thread. The record is null unless the status is kOk.
  using GetSink = std::function<void(std::size_t index, BlockStatus, std::shared_ptr<const BlockRecord>)>;

  virtual ~Tier() = default;

  virtual std::string name() const = 0;  // "ram", "disk /var/cache/cairn", "redis://host:6379"
  virtual ReadOnly read_only() const { return ReadOnly::kNo; }
  bool writes() const { return read_only() == ReadOnly::kNo; }
  virtual bool durable() const = 0;  // a put that returned kOk survives the end of the process

  virtual std::vector<BlockStatus> contains(std::span<const Digest> keys, Deadline deadline) = 0;
  // contains() for who is about to read: what is there is not evicted until it has been read, or for some seconds, by
  // tiers that evict themselves.
  virtual std::vector<BlockStatus> lease(std::span<const Digest> keys, Deadline deadline) {
    return contains(keys, deadline);
  }
  // Headers are verified here, parts by BlockRecord::copy_part.
  virtual void get(std::span<const Digest> keys, Deadline deadline, const GetSink& sink) = 0;
  // A get whose records hold no parts yet: these are read through what is returned. Null where the tier gives whole
  // blocks, which it has done then.
  virtual std::unique_ptr<PartReads> get_by_parts(std::span<const Digest> keys, Deadline deadline,
                                                  const GetSink& sink) {
    get(keys, deadline, sink);
    return nullptr;
  }
  virtual bool reads_parts() const { return false; }
  // A block becomes visible as a whole or not at all. One that is there already is kOk without being written.
  virtual std::vector<BlockStatus> put(std::span<const std::shared_ptr<const BlockRecord>> records,
                                       Deadline deadline) = 0;
  // The same blocks in another form, such as compressed: each takes the place of what is there under its key, and its
  // pin, its age and its last use stay. Readers find one form or the other, and so does who comes after a crash.
  // kMiss where there is nothing to replace, kFull for a longer one and where a budget lets the two not be side by
  // side.
  virtual std::vector<BlockStatus> replace(std::span<const std::shared_ptr<const BlockRecord>> records,
                                           Deadline deadline) = 0;
  // kOk also where there was nothing.
  virtual std::vector<BlockStatus> erase(std::span<const Digest> keys, Deadline deadline) = 0;
  // Not evicted before this time; 0 unpins.
  virtual BlockStatus pin(const Digest& key, std::int64_t until_s) = 0;
  // A reader found the block damaged that get returned.
  virtual void report_corrupt(const Digest& key) = 0;
  // Some blocks may be missed or shown twice while others write; false from the visitor ends it.
  virtual Status list(const std::function<bool(const StoredBlock&)>& visitor, Deadline deadline) = 0;
  // Why a block that is missing is gone, as far as the tier remembers.
  virtual Gone what_became_of(const Digest&) { return Gone::kUnknown; }
  // What a recipe's fingerprint stands for, kept for people: it explains misses. Best effort.
  virtual void describe_recipe(const Digest& recipe, const std::string& text) = 0;
  virtual std::map<Digest, std::string> recipes() = 0;
  // Writes what would make the next start faster.
  virtual Status flush(Deadline) { return {}; }
  virtual TierStats stats() const = 0;
};

// For people, when a tier has been opened: "disk kv: 3 blocks have format version 1; this build reads version 2; they
// are erased". A tier that is only read leaves them to the build that wrote them. Empty when none was met.
inline std::string foreign_warning(const Tier& tier) {
  const std::string text = foreign_text(tier.stats());
  if (text.empty()) return {};
  return tier.name() + ": " + text + (tier.writes() ? "; they are erased" : "; here they are misses");
}

}  // namespace cairn
