// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/kv_cache.h"

#include <algorithm>
#include <utility>

#include "cairn/base/check.h"
#include "cairn/cache/pending_load.h"
#include "cairn/cache/stored_block.h"
#include "cairn/cache/token_policy.h"

namespace cairn {

Result<std::unique_ptr<KvCache>> KvCache::create(const KvCacheOptions& options) {
  CAIRN_TRY(auto core, cache::CacheCore::create(options));
  return std::unique_ptr<KvCache>(new KvCache(std::move(core)));
}

Status KvCache::check_policy(const KvCacheOptions& options, const PolicySpec& policy) {
  return cache::TokenPolicy::check(policy, options);
}

KvCache::KvCache(std::shared_ptr<cache::CacheCore> core) : core_(std::move(core)) {}

Sequence KvCache::open(std::span<const TokenId> prompt, std::span<const Digest> keys, const PolicySpec* policy) {
  return open_under(prompt, keys, policy, /*wait=*/true);
}

Sequence KvCache::open_while_loading(std::span<const TokenId> prompt, std::span<const Digest> keys,
                                     const PolicySpec* policy) {
  return open_under(prompt, keys, policy, /*wait=*/false);
}

Sequence KvCache::open_under(std::span<const TokenId> prompt, std::span<const Digest> keys, const PolicySpec* policy,
                             bool wait) {
  if (policy == nullptr) return open_keyed(prompt, keys, wait);
  Sequence kept(core_);
  if (cache::resume_kept(*kept.state_, prompt, *policy)) return kept;
  const auto tokens = prompt.first(reusable_tokens(*policy, prompt.size()));
  Sequence sequence = open_keyed(tokens, keys.first(std::min(keys.size(), tokens.size() / kBlockTokens)), wait);
  CAIRN_CHECK(sequence.set_policy(*policy));
  return sequence;
}

Sequence KvCache::open_keyed(std::span<const TokenId> prompt, std::span<const Digest> keys, bool wait) {
  Sequence sequence(core_);
  if (!core_->index || prompt.empty()) return sequence;
  cache::SequenceState& state = *sequence.state_;
  auto keyed = std::make_shared<cache::KeyedPrompt>();
  keyed->tokens.assign(prompt.begin(), prompt.end());
  keyed->keys = block_keys(core_->options.root, prompt, keys);
  state.prompt = keyed;
  const std::size_t reusable = (prompt.size() - 1) / kBlockTokens;
  const auto tokens = prompt.first(reusable * kBlockTokens);
  const auto reusable_keys = std::span<const Digest>(keyed->keys).first(reusable);
  if (core_->options.connector != nullptr && reusable > 0) {
    if (wait) {
      cache::PendingLoad::warm(*core_, tokens, reusable_keys);
    } else {
      sequence.load_ = cache::PendingLoad::begin(*core_, tokens, reusable_keys);
    }
  }
  const PrefixMatch match = core_->index->match(core_->options.root, tokens, reusable_keys);
  for (const PrefixMatch::Block& block : match.blocks) {
    state.append_block(block.key, block.pages, tokens.subspan(state.tokens.size(), kBlockTokens));
  }
  state.reused = state.tokens.size();
  state.known = match.known * kBlockTokens;
  state.release_behind_windows();
  return sequence;
}

std::size_t KvCache::bytes_of(std::size_t tokens) const {
  std::size_t bytes = 0;
  for (const cache::LayerForms& layer : core_->tables) {
    const std::size_t seen = layer.window == 0 ? tokens : std::min<std::size_t>(tokens, layer.window);
    bytes += seen * layer.closed_bytes() / kBlockTokens + (seen > 0 ? layer.first_extra() : 0);
  }
  return bytes;
}

std::size_t KvCache::bytes_per_token() const {
  return block_bytes(std::size_t{core_->options.plan.sink_blocks} + 1) / kBlockTokens;
}

std::size_t KvCache::block_bytes(std::size_t number, bool windows) const {
  const bool open = number < core_->options.plan.sink_blocks;
  std::size_t bytes = 0;
  for (const cache::LayerForms& layer : core_->tables) {
    if (layer.window == 0 || windows)
      bytes += open ? layer.open_bytes() : layer.closed_bytes() + (number == 0 ? layer.first_extra() : 0);
  }
  return bytes;
}

std::size_t KvCache::stored_block_bytes(bool encrypted) const {
  return closed_record_bytes(*core_, encrypted);
}

std::size_t KvCache::bytes_for(std::size_t tokens, std::size_t rows) const {
  std::size_t bytes = 0;
  for (const cache::LayerForms& layer : core_->tables) {
    bytes += cache::whole_bytes(layer, core_->options.plan, tokens, rows);
  }
  return bytes;
}

PlannedBytes KvCache::planned_bytes(const PolicySpec* policy, const PlannedGrowth& growth) const {
  if (policy == nullptr) return {.whole = bytes_for(growth.to, growth.rows)};
  return cache::planned_bytes(*core_, *policy, growth);
}

KvCacheStats KvCache::stats() const {
  KvCacheStats stats;
  stats.bytes_used = core_->pool->bytes_used();
  stats.sheet_bytes = core_->shelf.bytes();
  stats.bytes_budget = core_->pool->budget();
  stats.high_water = core_->pool->high_water();
  if (core_->offload) stats.bytes_offloaded = core_->offload->bytes_used();
  stats.blocks_kept_raw = core_->blocks_kept_raw.load(std::memory_order_relaxed);
  stats.cold_bytes = core_->cold_bytes.load(std::memory_order_relaxed);
  stats.cold_values = core_->cold_values.load(std::memory_order_relaxed);
  if (core_->index) stats.index = core_->index->stats();
  stats.kept = core_->kept.stats();
  return stats;
}

std::vector<IndexedBlock> KvCache::blocks(std::size_t max_blocks) const {
  return core_->index ? core_->index->list(max_blocks) : std::vector<IndexedBlock>();
}

void KvCache::clear() {
  core_->kept.clear();
  if (core_->index) core_->index->clear();
}

}  // namespace cairn
