// SPDX-License-Identifier: Apache-2.0
// How a block's pages lie in a stored record: part 0 is the tokens, then comes one part for each page, layer by layer,
// in the order of PageSlot. Layers are those that have keys and values of their own. A part's tag is the form of its
// page.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cairn/cache/cache_core.h"
#include "cairn/store/record/block_record.h"

namespace cairn::cache {

// Of the page of a layer with keys and values of its own.
constexpr std::size_t part_of_page(std::size_t table, PageSlot slot) {
  return 1 + BlockPages::index(table, slot);
}
// Those of tables before this one, and the tokens.
constexpr std::size_t parts_before(std::size_t table) {
  return part_of_page(table, PageSlot::kKeys);
}

// What a block takes in a store when all its pages are settled.
std::size_t settled_record_bytes(const CacheCore& core, bool encrypted);

// Whether a record has exactly the parts that blocks of this cache have: whatever it says, only these are taken.
bool has_parts_of(const CacheCore& core, const BlockMeta& meta);

// What the pages of such a record take of the cache's budget.
std::size_t page_bytes_of(const CacheCore& core, const BlockMeta& meta);

// Queues a block that has just been sealed, `depth` blocks after the first of its sequence; its pages are copied.
// Requires: a store.
void write_behind(const CacheCore& core, const SealedBlock& block, std::uint32_t depth);

}  // namespace cairn::cache
