// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/layer_table.h"

#include <algorithm>
#include <utility>

#include "cairn/base/check.h"

namespace cairn {
namespace {

void set_count(PageView& view, std::uint32_t count) {
  view.count = count;
  const auto [low, high] = std::minmax_element(view.positions, view.positions + count);
  view.min_position = *low;
  view.max_position = *high;
}

}  // namespace

std::uint32_t LayerTable::tail_tokens() const {
  return views_.empty() ? 0 : views_.back().count % kBlockTokens;
}

bool LayerTable::owns_tail() const {
  return entries_.back().keys.unique() && entries_.back().values.unique();
}

void LayerTable::append(Entry entry, std::uint32_t count) {
  CAIRN_DCHECK(tail_tokens() == 0);
  PageView view = {.keys = entry.keys.data(), .values = entry.values.data(), .positions = entry.positions->data()};
  set_count(view, count);
  views_.push_back(view);
  entries_.push_back(std::move(entry));
}

void LayerTable::set_tail_count(std::uint32_t count) {
  set_count(views_.back(), count);
}

void LayerTable::replace_pages(std::size_t block, PageRef keys, PageRef values) {
  entries_[block].keys = std::move(keys);
  entries_[block].values = std::move(values);
  views_[block].keys = entries_[block].keys.data();
  views_[block].values = entries_[block].values.data();
}

void LayerTable::replace_positions(std::size_t block, std::shared_ptr<PositionBlock> positions) {
  entries_[block].positions = std::move(positions);
  views_[block].positions = entries_[block].positions->data();
  set_count(views_[block], views_[block].count);
}

std::size_t LayerTable::find(std::size_t token) const {
  const auto after = std::ranges::upper_bound(entries_, token, {}, &Entry::first_token);
  if (after == entries_.begin()) return blocks();
  const auto block = static_cast<std::size_t>(after - entries_.begin()) - 1;
  return token - entries_[block].first_token < views_[block].count ? block : blocks();
}

void LayerTable::drop(std::size_t block) {
  CAIRN_CHECK(block < blocks());
  entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(block));
  views_.erase(views_.begin() + static_cast<std::ptrdiff_t>(block));
}

void LayerTable::shrink(std::size_t tokens) {
  while (!entries_.empty() && entries_.back().first_token >= tokens) {
    entries_.pop_back();
    views_.pop_back();
  }
  if (entries_.empty()) return;
  const std::size_t kept = tokens - entries_.back().first_token;
  if (kept < views_.back().count) set_count(views_.back(), static_cast<std::uint32_t>(kept));
}

}  // namespace cairn
