// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/sheet_shelf.h"

#include <algorithm>

namespace cairn::cache {

std::shared_ptr<Sheet> SheetShelf::find(const Digest& key, std::uint32_t kind) const {
  const std::lock_guard lock(mutex_);
  const auto found = sheets_.find(key);
  if (found == sheets_.end()) return nullptr;
  const auto sheet = std::ranges::find(found->second, kind, &Kinds::value_type::first);
  return sheet == found->second.end() ? nullptr : sheet->second;
}

void SheetShelf::put(const Digest& key, std::uint32_t kind, std::shared_ptr<Sheet> sheet, const PrefixIndex& index) {
  {
    const std::lock_guard lock(mutex_);
    Kinds& kinds = sheets_[key];
    if (std::ranges::find(kinds, kind, &Kinds::value_type::first) == kinds.end()) {
      kinds.emplace_back(kind, std::move(sheet));
    }
  }
  // Only now: the index may let go of the block at any time, and says so while it is locked.
  if (!index.contains(key)) forget(key);
}

void SheetShelf::forget(const Digest& key) {
  const std::lock_guard lock(mutex_);
  sheets_.erase(key);
}

std::size_t SheetShelf::forget_unused() {
  const std::lock_guard lock(mutex_);
  std::size_t bytes = 0;
  const auto is_unused = [&](const Kinds::value_type& each) {
    if (each.second.use_count() > 1) return false;
    bytes += each.second->room.bytes();
    return true;
  };
  for (auto& [key, kinds] : sheets_) std::erase_if(kinds, is_unused);
  std::erase_if(sheets_, [](const auto& each) { return each.second.empty(); });
  return bytes;
}

std::size_t SheetShelf::bytes() const {
  const std::lock_guard lock(mutex_);
  std::size_t bytes = 0;
  for (const auto& [key, kinds] : sheets_) {
    for (const auto& [kind, sheet] : kinds) bytes += sheet->room.bytes();
  }
  return bytes;
}

void take_from_shelf(Sheets& sheets, std::size_t blocks, const ShelfPlace& place) {
  const std::size_t size = sheets.sheet_blocks(), known = std::min(blocks, place.keys.size());
  for (std::size_t s = sheets.blocks() / size; place.shelf != nullptr && (s + 1) * size <= known; ++s) {
    auto found = place.shelf->find(place.keys[(s + 1) * size - 1], place.kind);
    if (found == nullptr) return;
    sheets.adopt(s, std::move(found));
  }
}

void put_on_shelf(const Sheets& sheets, std::size_t first, const ShelfPlace& place) {
  const std::size_t size = sheets.sheet_blocks(), known = std::min(sheets.blocks(), place.keys.size());
  for (std::size_t s = first / size; place.shelf != nullptr && (s + 1) * size <= known; ++s) {
    place.shelf->put(place.keys[(s + 1) * size - 1], place.kind, sheets.sheet(s), *place.index);
  }
}

}  // namespace cairn::cache
