// SPDX-License-Identifier: Apache-2.0
// Blocks of a prompt that a store is loading into pages of the cache, layer by layer. What the store hands over is
// checked here: sizes, recipe, tokens, and each layer's checksum as it is copied.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "cairn/base/clock.h"
#include "cairn/base/hash.h"
#include "cairn/base/thread_pool.h"
#include "cairn/block/block_key.h"
#include "cairn/cache/cache_core.h"
#include "cairn/store/store.h"

namespace cairn {

// Thread-compatible; must not outlive its cache, nor `refused`.
class PendingLoad {
 public:
  struct Wanted {
    std::size_t first = 0;  // number of the first block in its sequence
    Digest parent;          // of the first block: a key or the root
    std::vector<Digest> keys;
    std::vector<TokenId> tokens;  // of these blocks
    Digest recipe;
  };

  PendingLoad(CacheCore& core, std::shared_ptr<Store> store, Wanted wanted, Deadline deadline,
              std::atomic<std::uint64_t>& refused);
  ~PendingLoad() { load_->abandon(); }
  PendingLoad(const PendingLoad&) = delete;
  PendingLoad& operator=(const PendingLoad&) = delete;

  std::size_t first() const { return wanted_.first; }
  std::size_t end() const { return wanted_.first + wanted_.keys.size(); }  // block number

  // Whether prepare() will not wait, after some time. How long the load should still take; nothing while that is
  // unknown.
  bool ready(std::chrono::milliseconds within) const { return load_->have_part(0, within).has_value(); }
  std::optional<double> seconds_left() const { return load_->seconds_left(); }
  bool late() const { return passed(deadline_); }  // nothing is waited for any more
  double waited_s() const;
  // Whether no layer would be waited for.
  bool all_here() const { return load_->have_part(core_.layers.size(), {}).has_value(); }

  // Takes pages for the blocks from number `from` on, which are not filled yet. Waits for the first part of all blocks.
  // Returns how many blocks there are: fewer than wanted, or none, when some are missing, refused or have no room.
  // Requires: first() <= from; called once.
  std::size_t prepare(std::size_t from);
  // Of the i-th prepared block: K then V of each layer.
  std::span<const PageRef> pages(std::size_t i) const { return pages_[i]; }
  const Digest& key(std::size_t i) const { return wanted_.keys[skipped_ + i]; }
  const Digest& parent(std::size_t i) const {
    return skipped_ + i == 0 ? wanted_.parent : wanted_.keys[skipped_ + i - 1];
  }
  std::span<const TokenId, kBlockTokens> tokens(std::size_t i) const {
    return std::span(wanted_.tokens).subspan((skipped_ + i) * kBlockTokens).first<kBlockTokens>();
  }

  // Fills the pages up to this layer, waiting for them; `pool` may be null. Returns how many leading blocks are sound
  // so far: it never grows, and what lies behind must not be used.
  std::size_t arrive(std::size_t layer, ThreadPool* pool);
  std::size_t prepared() const { return pages_.size(); }
  bool complete() const { return layers_ == core_.layers.size(); }

 private:
  bool accept(const LoadedBlock& block, std::size_t i, Reservation& room);
  bool fill(std::size_t layer, std::size_t i);

  CacheCore& core_;
  const std::shared_ptr<Store> store_;
  const Wanted wanted_;
  const Deadline deadline_;
  const Deadline begun_ = std::chrono::steady_clock::now();
  std::atomic<std::uint64_t>& refused_;
  const std::shared_ptr<PrefixLoad> load_;
  std::vector<LoadedBlock> blocks_;  // prepared ones
  std::vector<std::vector<PageRef>> pages_;
  std::size_t skipped_ = 0;  // wanted, but before `from`
  std::size_t layers_ = 0;   // filled
  std::size_t sound_ = 0;
};

}  // namespace cairn
