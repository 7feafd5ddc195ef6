// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/kv_cache.h"

#include <utility>

namespace cairn {

Result<std::unique_ptr<KvCache>> KvCache::create(const KvCacheOptions& options) {
  CAIRN_TRY(auto core, CacheCore::create(options));
  return std::unique_ptr<KvCache>(new KvCache(std::move(core)));
}

KvCache::KvCache(std::shared_ptr<CacheCore> core) : core_(std::move(core)) {}

Sequence KvCache::open(std::span<const TokenId> prompt) {
  Sequence sequence(core_);
  if (core_->index && !prompt.empty()) {
    sequence.attach(core_->index->match(core_->options.root, prompt.first(prompt.size() - 1)), prompt);
  }
  return sequence;
}

std::size_t KvCache::bytes_per_token() const {
  return core_->settled_block_bytes() / kBlockTokens;
}

KvCacheStats KvCache::stats() const {
  KvCacheStats stats;
  stats.bytes_used = core_->pool->bytes_used();
  stats.bytes_budget = core_->pool->budget();
  stats.high_water = core_->pool->high_water();
  stats.blocks_kept_raw = core_->blocks_kept_raw.load(std::memory_order_relaxed);
  if (core_->index) stats.index = core_->index->stats();
  return stats;
}

void KvCache::clear() {
  if (core_->index) core_->index->clear();
}

}  // namespace cairn
