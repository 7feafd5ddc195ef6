// SPDX-License-Identifier: Apache-2.0
// What all sequences of one cache share: the options, the pool, the prefix index.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "cairn/base/hash.h"
#include "cairn/base/result.h"
#include "cairn/block/page_pool.h"
#include "cairn/block/shape.h"
#include "cairn/codec/codec.h"
#include "cairn/reuse/prefix_index.h"

namespace cairn {

struct KvCacheOptions {
  std::uint32_t layers = 0;
  PageShape shape;
  const Codec* key_codec = nullptr;
  const Codec* value_codec = nullptr;
  Digest root;                         // chain_root(recipe, tenant)
  std::size_t budget_bytes = 0;        // of all pages, those of the index included
  std::size_t index_budget_bytes = 0;  // how much of it finished blocks may hold for reuse; 0 turns reuse off
};

// Thread-safe. Held by the cache and by each of its sequences.
struct CacheCore {
  const KvCacheOptions options;
  const std::size_t key_page_bytes;
  const std::size_t value_page_bytes;
  const std::unique_ptr<PagePool> pool;
  std::optional<PrefixIndex> index;  // after the pool: it drops its pages first

  // kInvalidArgument for options that make no sense, kOutOfBudget when not even one block fits.
  static Status check(const KvCacheOptions& options);
  // The errors of check; kIo when the system refuses the address space.
  static Result<std::shared_ptr<CacheCore>> create(const KvCacheOptions& options);

  CacheCore(const KvCacheOptions& options, std::unique_ptr<PagePool> pool);

  std::size_t pair_bytes() const;   // K and V of one block at one layer, as they count against the budget
  std::size_t block_bytes() const;  // of all layers

  // Reserves, evicting from the index what nobody uses if need be. kOutOfBudget when that is not enough.
  Result<Reservation> make_room(std::size_t bytes);
};

}  // namespace cairn
