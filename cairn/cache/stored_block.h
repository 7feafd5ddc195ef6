// SPDX-License-Identifier: Apache-2.0
// How a block of a cache lies in a stored record: part 0 is the tokens, then comes one part for each page, table by
// table, in the order of PageSlot; a layer whose values lie in its keys has one. A part's tag is the form of its page.
// Functions without state; thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cairn/block/shape.h"
#include "cairn/cache/cache_core.h"
#include "cairn/reuse/prefix_index.h"
#include "cairn/store/record/block_record.h"

namespace cairn::cache {

// The tag of a part that is the cold form of a page.
inline constexpr std::uint32_t kColdPart = 0x100;

// How many parts come before those of this table: the tokens, and the pages of the tables before it.
inline std::size_t parts_before(const CacheCore& core, std::size_t table) {
  return core.first_parts[table];
}
// Which part holds the page of a layer with keys and values of its own. Requires: the layer has this slot.
inline std::size_t part_of_page(const CacheCore& core, std::size_t table, PageSlot slot) {
  return core.first_parts[table] + static_cast<std::size_t>(slot);
}

// What a block takes in a store when all its pages are closed; a guess where they have a cold form.
std::size_t closed_record_bytes(const CacheCore& core, bool encrypted);

// Whether a record has exactly the parts that blocks of this cache have: whatever it says, only these are taken.
bool has_parts_of(const CacheCore& core, const BlockMeta& meta);

// The form of the page that a part becomes. Requires: has_parts_of.
std::uint32_t form_of_part(const PageForms& forms, const BlockMeta& meta, std::size_t part);

// What the pages of such a record take of the cache's budget.
std::size_t page_bytes_of(const CacheCore& core, const BlockMeta& meta);

// Queues a block that has just been sealed, `depth` blocks after the first of its sequence; its pages are copied,
// or the cold parts of each table, where there are any and they are smaller. Requires: a connector.
void write_behind(const CacheCore& core, const SealedBlock& block, std::uint32_t depth,
                  std::span<const ColdParts* const> cold);

}  // namespace cairn::cache
