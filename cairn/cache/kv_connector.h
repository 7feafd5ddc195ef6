// SPDX-License-Identifier: Apache-2.0
// Between a KV cache and a store: what a prompt needs is loaded into the prefix index before a sequence is opened on
// it, and blocks are written behind as they are sealed. Loads that would take longer than computing are not made.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "cairn/base/hash.h"
#include "cairn/block/block_key.h"
#include "cairn/cache/cache_core.h"
#include "cairn/cache/pending_load.h"
#include "cairn/reuse/prefix_index.h"
#include "cairn/store/store.h"

namespace cairn {

struct KvConnectorOptions {
  std::shared_ptr<Store> store;
  Digest recipe;            // fingerprint
  std::string recipe_text;  // for people
  std::string tenant;
  std::chrono::milliseconds max_wait{10000};  // for one prompt
  bool break_even = true;                     // false: load whatever there is
};

struct KvConnectorStats {
  std::uint64_t blocks_loaded = 0, blocks_written = 0;
  double write_seconds = 0;          // that sealing blocks took longer
  std::uint64_t loads_skipped = 0;   // by the break-even guard
  std::uint64_t heads_computed = 0;  // blocks that were computed while later ones were loading
  std::uint64_t blocks_refused = 0;  // stored otherwise than this cache keeps them, or damaged
  double load_seconds = 0;           // that prompts waited
};

// Thread-safe.
class KvConnector {
 public:
  explicit KvConnector(KvConnectorOptions options);

  // Puts what the store has of the prompt's blocks, and the index has not, into the index. Returns how many blocks.
  // Never fails: what cannot be had is computed.
  std::size_t warm(CacheCore& core, std::span<const TokenId> prompt);

  // The same for a sequence that goes on by itself meanwhile: starts to load what is worth loading. Null when there is
  // nothing.
  std::unique_ptr<PendingLoad> begin(CacheCore& core, std::span<const TokenId> prompt);

  // What a sequence of `tokens` tokens that awaits these blocks should do now, computing at most `chunk` tokens at a
  // time. Looks on for a moment before it says kWait.
  enum class Advice : std::uint8_t {
    kJoin,     // take the blocks
    kWait,     // they will be there sooner than a chunk is computed
    kCompute,  // a chunk: it is done before the blocks are there
    kAbandon,  // all of it: the blocks come later than that
  };
  Advice advise(const PendingLoad& incoming, std::size_t tokens, std::size_t chunk,
                std::chrono::milliseconds look) const;
  void count_loaded(std::size_t blocks) { blocks_loaded_.fetch_add(blocks, std::memory_order_relaxed); }
  void count_heads(std::size_t blocks) { heads_computed_.fetch_add(blocks, std::memory_order_relaxed); }
  void count_load_time(std::chrono::steady_clock::time_point since);

  // Queues a block that has just been sealed; its pages are copied.
  void write_behind(const CacheCore& core, const SealedBlock& block, std::uint32_t depth);

  // Prefill went so fast: what a load must beat.
  void observe_prefill(std::size_t tokens, double seconds) { prefill_.observe(static_cast<double>(tokens), seconds); }

  KvConnectorStats stats() const;
  Store& store() { return *options_.store; }

 private:
  std::size_t worth_computing(std::span<const std::size_t> tiers, std::uint64_t record_bytes);
  Deadline load_deadline(std::size_t blocks) const;
  std::unique_ptr<PendingLoad> begin(CacheCore& core, std::span<const TokenId> prompt, bool may_split);

  const KvConnectorOptions options_;
  ReadRate prefill_;
  std::atomic<std::uint64_t> blocks_loaded_{0}, blocks_written_{0}, loads_skipped_{0}, blocks_refused_{0},
      heads_computed_{0};
  std::atomic<std::uint64_t> load_nanoseconds_{0}, write_nanoseconds_{0};
  std::atomic<std::uint32_t> guard_streak_{0};
};

}  // namespace cairn
