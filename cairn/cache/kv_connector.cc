// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/kv_connector.h"

#include <algorithm>
#include <utility>

#include "cairn/block/shape.h"

namespace cairn {
namespace {

// A tier that was too slow gets a chance to show otherwise now and then.
constexpr std::uint32_t kProbeEvery = 16;
// A head is computed in whole prefill chunks: parts of one cost as much.
constexpr std::size_t kChunkBlocks = 4;

}  // namespace

KvConnector::KvConnector(KvConnectorOptions options) : options_(std::move(options)) {
  for (std::size_t t = 0; t < options_.store->tiers(); ++t) {
    options_.store->tier(t).describe_recipe(options_.recipe, options_.recipe_text);
  }
}

std::size_t KvConnector::head_to_compute(std::span<const std::size_t> tiers, std::uint64_t record_bytes) {
  const double rate = prefill_.per_second();
  if (!options_.break_even || rate == 0) return 0;
  double load_s = 0;
  for (const std::size_t tier : tiers) load_s += options_.store->expected_seconds(tier, record_bytes);
  if (const double unpacked = unpacking_.per_second(); unpacked > 0) {
    load_s += static_cast<double>(tiers.size()) / unpacked;
  }
  const double compute_s = static_cast<double>(tiers.size() * kBlockTokens) / rate;
  if (load_s >= compute_s) {
    if (guard_streak_.fetch_add(1) % kProbeEvery == kProbeEvery - 1) return 0;
    loads_skipped_.fetch_add(1, std::memory_order_relaxed);
    return tiers.size();
  }
  // Both ends meet where the head has been computed in the time that the tail takes to load.
  const auto head = static_cast<std::size_t>(static_cast<double>(tiers.size()) * load_s / (load_s + compute_s));
  return head / kChunkBlocks * kChunkBlocks;
}

Deadline KvConnector::load_deadline(std::size_t blocks) const {
  constexpr double kLeast = 0.1;
  double wait_s = std::chrono::duration<double>(options_.max_wait).count();
  if (const double rate = prefill_.per_second(); rate > 0 && options_.break_even) {
    wait_s = std::min(wait_s, std::max(kLeast, static_cast<double>(blocks * kBlockTokens) / rate));
  }
  return deadline_in(std::chrono::milliseconds(static_cast<std::int64_t>(1000 * wait_s)));
}

KvConnector::Advice KvConnector::advise(std::optional<double> left_s, double waited_s, std::size_t tokens_left,
                                        std::size_t chunk) const {
  constexpr double kLongWait = 0.5;
  if (!options_.break_even) return Advice::kWait;
  const double rate = prefill_.per_second();
  const double chunk_s = rate == 0 ? kLongWait : static_cast<double>(chunk) / rate;
  // A chunk later more is known.
  if (!left_s) return waited_s < std::min(chunk_s, kLongWait) ? Advice::kWait : Advice::kCompute;
  if (rate > 0 && *left_s >= static_cast<double>(tokens_left) / rate) return Advice::kAbandon;
  return *left_s > chunk_s ? Advice::kCompute : Advice::kWait;
}

void KvConnector::write(BlockMeta meta, std::span<const std::span<const std::byte>> parts) {
  const auto start = std::chrono::steady_clock::now();
  meta.recipe = options_.recipe;
  meta.tenant = tenant_tag(options_.tenant);
  if (options_.store->write(std::move(meta), parts)) blocks_written_.fetch_add(1, std::memory_order_relaxed);
  write_nanoseconds_.fetch_add(nanoseconds_since(start), std::memory_order_relaxed);
}

void KvConnector::count_load_time(std::chrono::steady_clock::time_point since) {
  load_nanoseconds_.fetch_add(nanoseconds_since(since), std::memory_order_relaxed);
}

KvConnectorStats KvConnector::stats() const {
  return {.blocks_loaded = blocks_loaded_,
          .blocks_written = blocks_written_,
          .write_seconds = static_cast<double>(write_nanoseconds_.load()) * 1e-9,
          .loads_skipped = loads_skipped_,
          .heads_computed = heads_computed_,
          .blocks_refused = blocks_refused_,
          .load_seconds = static_cast<double>(load_nanoseconds_.load()) * 1e-9};
}

}  // namespace cairn
