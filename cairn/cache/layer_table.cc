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

std::size_t LayerTable::tokens() const {
  return views_.empty() ? 0 : (views_.size() - 1) * kBlockTokens + views_.back().count;
}

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
}

void LayerTable::shrink(std::size_t tokens) {
  CAIRN_CHECK(tokens <= this->tokens());
  const std::size_t blocks = (tokens + kBlockTokens - 1) / kBlockTokens;
  entries_.resize(blocks);
  views_.resize(blocks);
  if (blocks > 0) set_count(views_.back(), static_cast<std::uint32_t>(tokens - (blocks - 1) * kBlockTokens));
}

}  // namespace cairn
