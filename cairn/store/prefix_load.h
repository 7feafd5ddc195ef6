// SPDX-License-Identifier: Apache-2.0
// The blocks of a prefix on their way from the tiers: block by block, or layer by layer, so that the first layer can be
// computed with while the next one is read.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "cairn/base/clock.h"
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

// Thread-safe.
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

}  // namespace cairn
