// SPDX-License-Identifier: Apache-2.0
// Tiers on top of each other, fastest first, behind an asynchronous front: loads with a deadline, writes behind the
// caller's back, promotion of what was found below. Nothing here waits without a deadline or throws at the caller: what
// does not work is a miss or a dropped write, counted.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "cairn/base/clock.h"
#include "cairn/base/result.h"
#include "cairn/store.h"
#include "cairn/store/tier.h"

namespace cairn {

struct LoadedBlock {
  BlockStatus status = BlockStatus::kTimeout;
  std::shared_ptr<const BlockRecord> record{};  // with kOk
  std::size_t tier = 0;                         // that answered, with kOk
};

enum class LoadOrder : std::uint8_t {
  kByBlock,  // blocks come whole, one after the other
  kByPart,   // all headers, then the first parts of all blocks, and so on; tiers that cannot do that give whole blocks
};

// The blocks of a prefix on their way from the tiers: block by block, or layer by layer, so that the first layer can be
// computed with while the next one is read. Thread-safe.
class PrefixLoad {
 public:
  // Waits for the i-th block until the load's deadline. After the first block that is not kOk no later one comes. When
  // loading by part, its parts may not be there yet: see wait_part().
  LoadedBlock wait(std::size_t i);
  // Waits until the parts up to this one are there, and says of how many leading blocks. 0 when the deadline comes
  // first.
  std::size_t wait_part(std::size_t part);
  // The same, giving up after a while: nothing when they are not there by then.
  std::optional<std::size_t> have_part(std::size_t part, std::chrono::milliseconds within = {});

  // How long the rest should take, from how it went so far; nothing before the first byte.
  std::optional<double> seconds_left() const;

  // No more is wanted; what is being read is not waited for.
  void abandon() { abandoned_.store(true, std::memory_order_relaxed); }
  bool abandoned() const { return abandoned_.load(std::memory_order_relaxed); }
  std::size_t size() const { return keys_.size(); }

 private:
  friend class Store;
  PrefixLoad(std::vector<Digest> keys, Deadline deadline, LoadOrder order)
      : keys_(std::move(keys)), deadline_(deadline), order_(order) {}
  void deliver(LoadedBlock block);
  void deliver_parts(std::size_t parts, std::size_t blocks);  // parts of the leading blocks are there now
  void end();                                                 // nothing more comes
  void count(std::uint64_t bytes) { bytes_here_.fetch_add(bytes, std::memory_order_relaxed); }
  void expect(std::uint64_t block_bytes) { block_bytes_.store(block_bytes, std::memory_order_relaxed); }
  std::optional<std::size_t> have_part_locked(std::size_t part) const;

  const std::vector<Digest> keys_;
  const Deadline deadline_;
  const LoadOrder order_;
  std::atomic<std::uint64_t> bytes_here_{0}, block_bytes_{0};
  std::atomic<bool> abandoned_{false};

  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  // Guarded by mutex_.
  std::vector<LoadedBlock> blocks_;    // delivered so far; the last may be the miss that ended it
  std::size_t parts_ = 0, sound_ = 0;  // the first `parts_` parts of the first `sound_` blocks are there
  bool ended_ = false;
  Deadline started_{};
};

// How fast something was seen to go, recent times counting more.
// Thread-safe; concurrent observations may lose one another.
class ReadRate {
 public:
  void observe(double amount, double seconds) {
    if (amount <= 0 || seconds <= 0) return;
    const double now = amount / seconds, before = per_second_.load(std::memory_order_relaxed);
    per_second_.store(before == 0 ? now : before + kWeight * (now - before), std::memory_order_relaxed);
  }
  double per_second() const { return per_second_.load(std::memory_order_relaxed); }  // 0: never observed

 private:
  static constexpr double kWeight = 0.3;
  std::atomic<double> per_second_{0};
};

struct StoreOptions {
  std::vector<std::unique_ptr<Tier>> tiers{};       // fastest first, at least one
  std::optional<StoreKey> key{};                    // records are encrypted with it
  std::int64_t ttl_s = 0;                           // of blocks; 0 for ever
  std::size_t queue_bytes = std::size_t{64} << 20;  // of records that wait to be written; more are dropped
  std::chrono::milliseconds write_deadline{5000};   // of one batch
  std::chrono::milliseconds rest{30000};            // how long a tier is left alone after it let a deadline pass
};

struct StoreStats {
  std::uint64_t loads = 0, blocks_loaded = 0, load_timeouts = 0;
  std::uint64_t writes = 0, writes_dropped = 0, writes_failed = 0;  // blocks
  std::uint64_t promotions = 0;
  std::uint64_t queued_bytes = 0;
  struct PerTier {
    std::string name;
    TierStats stats;
    ReadOnly read_only = ReadOnly::kNo;
    double read_bytes_per_s = 0;  // as measured, 0 before the first
    bool resting = false;
  };
  std::vector<PerTier> tiers{};
};

// Thread-safe. The destructor gives queued writes one more write_deadline.
class Store {
 public:
  explicit Store(StoreOptions options);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // Starts to load keys[0], keys[1], ... up to the first that no tier has. Returns at once.
  std::shared_ptr<PrefixLoad> load(std::vector<Digest> keys, Deadline deadline, LoadOrder order = LoadOrder::kByBlock);

  // Which tier has the block, for each of the leading keys that some tier has. May ask a server: bounded by the
  // deadline.
  std::vector<std::size_t> locate(std::span<const Digest> keys, Deadline deadline);

  // Queues a block for all tiers. False when it was dropped since the queue is full.
  bool write(BlockMeta meta, std::span<const std::span<const std::byte>> contents);
  // Waits until all that was queued before is written, and tiers are ready for a restart. kIo when the deadline comes
  // first.
  Status flush(Deadline deadline);

  // What a part of a loaded record says, verified. False when it is encrypted with another key, and when it is damaged:
  // then the tier that it came from counts it as corrupt and erases it.
  bool copy_part(const LoadedBlock& block, std::size_t part, std::span<std::byte> out);

  // Seconds that reading this many bytes from a tier should take, from what it was seen to do; 0 before the first time.
  double expected_seconds(std::size_t tier, std::uint64_t bytes) const;

  std::size_t tiers() const { return tiers_.size(); }
  Tier& tier(std::size_t i) { return *tiers_[i]; }
  const StoreOptions& options() const { return options_; }
  StoreStats stats() const;

 private:
  struct Queued {
    std::shared_ptr<const BlockRecord> record;
    std::size_t first_tier = 0, last_tier = 0;  // inclusive
    std::optional<std::size_t> from{};          // the tier it was read from, unverified
  };
  void read_loop();
  void write_loop();
  // Parts of blocks that a tier goes on reading: which of the load's blocks they are of.
  struct OpenReads {
    std::size_t tier = 0;
    std::unique_ptr<PartReads> reads;
    std::vector<std::size_t> blocks;
  };
  void serve(PrefixLoad& load);
  void serve_by_block(PrefixLoad& load);
  void serve_by_part(PrefixLoad& load);
  std::size_t read_parts(PrefixLoad& load, std::span<OpenReads> open, std::span<const LoadedBlock> blocks);
  // `open` is null where blocks must come whole.
  std::vector<LoadedBlock> read_some(PrefixLoad& load, std::span<const Digest> keys, std::vector<OpenReads>* open);
  void promote(std::span<const LoadedBlock> blocks);
  bool enqueue(Queued write);
  void write_batch(std::vector<Queued>& batch);
  void erase_damaged(Tier& tier, std::span<const std::shared_ptr<const BlockRecord>> records) const;
  bool resting(std::size_t tier) const;
  void note_timeout(std::size_t tier, Deadline started);

  StoreOptions options_;
  std::vector<std::unique_ptr<Tier>> tiers_;
  std::unique_ptr<ReadRate[]> rates_;
  std::unique_ptr<std::atomic<std::int64_t>[]> rests_until_;  // steady clock, nanoseconds
  std::atomic<std::uint64_t> loads_{0}, blocks_loaded_{0}, load_timeouts_{0}, writes_{0}, writes_dropped_{0},
      writes_failed_{0}, promotions_{0};

  mutable std::mutex mutex_;
  std::condition_variable work_, idle_;
  // Guarded by mutex_.
  std::deque<std::shared_ptr<PrefixLoad>> to_read_;
  std::deque<Queued> to_write_;
  std::size_t queued_bytes_ = 0;  // in to_write_ and being written
  bool stop_ = false, stop_writing_ = false;

  std::thread reader_, writer_;  // last: they use all of the above
};

// A store as a person names it: "redis://host", "ram:512MiB" or a folder, fastest first.
struct OpenedStore {
  std::shared_ptr<Store> store;       // null when no tier opened
  std::vector<std::string> warnings;  // one line for each tier that did not, or whose blocks need another key
};

// "512MiB", "10GiB", "4096": kInvalidArgument for other texts.
Result<std::uint64_t> parse_bytes(const std::string& text);

// Errors: kInvalidArgument for a text that names no tier, an unknown policy, a bad key file; with `required` also
// whatever a tier says.
Result<std::unique_ptr<Tier>> open_tier(const std::string& text, const StoreConfig& config);
Result<OpenedStore> open_store(const StoreConfig& config);

}  // namespace cairn
