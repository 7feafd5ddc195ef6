// SPDX-License-Identifier: Apache-2.0
// The pages of one block, by name: what travels between a sequence, the prefix index and a store.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "cairn/block/page_pool.h"

namespace cairn {

// What a page of a layer holds. Part of the stored record: a name keeps its number.
enum class PageSlot : std::uint8_t { kKeys = 0, kValues = 1 };
inline constexpr std::size_t kPageSlots = 2;

// A value: copies share the pages. Layers are those that have pages of their own, in order.
class BlockPages {
 public:
  BlockPages() = default;
  explicit BlockPages(std::size_t layers) : pages_(layers * kPageSlots) {}

  PageRef& page(std::size_t layer, PageSlot slot) { return pages_[index(layer, slot)]; }
  const PageRef& page(std::size_t layer, PageSlot slot) const { return pages_[index(layer, slot)]; }
  std::size_t layers() const { return pages_.size() / kPageSlots; }
  bool empty() const { return pages_.empty(); }
  std::span<const PageRef> all() const { return pages_; }
  bool operator==(const BlockPages&) const = default;  // the same pages

  // Where a page lies in any list of a block's pages: layer by layer, slots in the order of their numbers.
  static constexpr std::size_t index(std::size_t layer, PageSlot slot) {
    return layer * kPageSlots + static_cast<std::size_t>(slot);
  }

 private:
  std::vector<PageRef> pages_;
};

}  // namespace cairn
