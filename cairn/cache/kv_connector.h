// SPDX-License-Identifier: Apache-2.0
// What ties a KV cache to a store: where its blocks go, whether loading some beats computing them, and what came of it.
// It knows records and rates, not pages: those are stored_block.h and pending_load.h.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "cairn/base/clock.h"
#include "cairn/base/hash.h"
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

  Store& store() { return *options_.store; }
  const Digest& recipe() const { return options_.recipe; }

  // Of blocks that lie in these tiers: how many of the leading ones are computed sooner than all would be loaded. None
  // when loading is fast, all when it is not worth it. `record_bytes` is the least that a block takes.
  std::size_t head_to_compute(std::span<const std::size_t> tiers, std::uint64_t record_bytes);
  // A load that goes worse than expected costs at most as much again as computing would have.
  Deadline load_deadline(std::size_t blocks) const;

  // What is better than to wait for `tokens_left` tokens that should be there in `left_s` seconds (nothing while that
  // is not known), after `waited_s`, when at most `chunk` tokens are computed at a time.
  enum class Advice : std::uint8_t {
    kWait,     // nothing: they will be there sooner than a chunk is computed
    kCompute,  // a chunk: it is done before they are there
    kAbandon,  // to compute all of it: they come later than that
  };
  Advice advise(std::optional<double> left_s, double waited_s, std::size_t tokens_left, std::size_t chunk) const;

  // Queues a block for the tiers: the bytes of its parts are copied. Requires: meta.parts and the parts' bytes.
  void write(BlockMeta meta, std::span<const std::span<const std::byte>> parts);

  // Prefill went so fast: what a load must beat.
  void observe_prefill(std::size_t tokens, double seconds) { prefill_.observe(static_cast<double>(tokens), seconds); }

  // What was read went so fast into pages: nothing to speak of, save from a cold form.
  void observe_unpacking(std::size_t blocks, double seconds) {
    unpacking_.observe(static_cast<double>(blocks), seconds);
  }

  void count_loaded(std::size_t blocks) { blocks_loaded_.fetch_add(blocks, std::memory_order_relaxed); }
  void count_heads(std::size_t blocks) { heads_computed_.fetch_add(blocks, std::memory_order_relaxed); }
  void count_refused() { blocks_refused_.fetch_add(1, std::memory_order_relaxed); }
  void count_load_time(std::chrono::steady_clock::time_point since);
  std::uint64_t blocks_refused() const { return blocks_refused_.load(std::memory_order_relaxed); }
  KvConnectorStats stats() const;

 private:
  const KvConnectorOptions options_;
  ReadRate prefill_, unpacking_;
  std::atomic<std::uint64_t> blocks_loaded_{0}, blocks_written_{0}, loads_skipped_{0}, blocks_refused_{0},
      heads_computed_{0};
  std::atomic<std::uint64_t> load_nanoseconds_{0}, write_nanoseconds_{0};
  std::atomic<std::uint32_t> guard_streak_{0};
};

}  // namespace cairn
