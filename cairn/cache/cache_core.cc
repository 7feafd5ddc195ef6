// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/cache_core.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string>
#include <utility>

namespace cairn {

CacheCore::CacheCore(const KvCacheOptions& cache_options, std::unique_ptr<PagePool> page_pool)
    : options(cache_options),
      key_page_bytes(options.key_codec->page_bytes(options.shape)),
      value_page_bytes(options.value_codec->page_bytes(options.shape)),
      pool(std::move(page_pool)) {
  if (options.index_budget_bytes > 0) index.emplace(options.index_budget_bytes);
}

Status CacheCore::check(const KvCacheOptions& options) {
  if (options.layers == 0 || options.shape.kv_heads == 0 || options.shape.head_dim == 0) {
    return fail(ErrorCode::kInvalidArgument, "a KV cache needs at least one layer, one KV head and one channel");
  }
  if (options.key_codec == nullptr || options.value_codec == nullptr) {
    return fail(ErrorCode::kInvalidArgument, "a KV cache needs a codec for keys and one for values");
  }
  const std::size_t pair = PagePool::occupied_bytes(options.key_codec->page_bytes(options.shape)) +
                           PagePool::occupied_bytes(options.value_codec->page_bytes(options.shape));
  if (pair > options.budget_bytes / options.layers) {
    return fail(ErrorCode::kOutOfBudget, "the KV cache budget of " + std::to_string(options.budget_bytes) +
                                             " bytes does not hold one block of " + std::to_string(kBlockTokens) +
                                             " tokens: give it at least " + std::to_string(pair * options.layers) +
                                             " bytes");
  }
  return {};
}

Result<std::shared_ptr<CacheCore>> CacheCore::create(const KvCacheOptions& options) {
  CAIRN_TRY_VOID(check(options));
  const std::array<std::size_t, 2> page_sizes = {options.key_codec->page_bytes(options.shape),
                                                 options.value_codec->page_bytes(options.shape)};
  CAIRN_TRY(auto pool, PagePool::create(options.budget_bytes, page_sizes));
  return std::make_shared<CacheCore>(options, std::move(pool));
}

std::size_t CacheCore::pair_bytes() const {
  return PagePool::occupied_bytes(key_page_bytes) + PagePool::occupied_bytes(value_page_bytes);
}

std::size_t CacheCore::block_bytes() const {
  return pair_bytes() * options.layers;
}

Result<Reservation> CacheCore::make_room(std::size_t bytes) {
  for (;;) {
    Result<Reservation> room = pool->reserve(bytes);
    // What can never fit must not cost the index its blocks.
    if (room || !index || bytes > pool->budget()) return room;
    const std::size_t free = pool->budget() - pool->bytes_used();
    // Another thread may have made room, or taken it, since: then try again.
    if (free < bytes && index->evict(bytes - free) == 0) return room;
  }
}

}  // namespace cairn
