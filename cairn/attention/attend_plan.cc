// SPDX-License-Identifier: Apache-2.0
#include "cairn/attention/attend_plan.h"

#include <algorithm>
#include <map>

namespace cairn::attention {
namespace {

// Below this many items per thread, one pass is divided along the keys as well.
constexpr std::size_t kItemsPerThread = 4;

bool same_page(const PageView& a, const PageView& b) {
  return a.keys == b.keys && a.values == b.values && a.key_format == b.key_format && a.value_format == b.value_format;
}

bool same_split(const AttendRows& a, const AttendRows& b, std::size_t first) {
  for (std::size_t p = first; p < first + kSplitPages; ++p) {
    if (!same_page(a.page(p), b.page(p))) return false;
  }
  return true;
}

// With every slot visible nothing but the pages enters into a row's arithmetic.
bool sees_all(const AttendRows& rows, std::size_t first, std::uint32_t window) {
  const auto [least, greatest] = std::minmax_element(rows.positions, rows.positions + rows.rows);
  const std::int32_t position = *least, oldest = oldest_visible(*greatest, window);
  for (std::size_t p = first; p < first + kSplitPages; ++p) {
    const PageView& page = rows.page(p);
    if (page.count != kBlockTokens || page.max_position > position || page.min_position < oldest) return false;
  }
  return true;
}

std::uint32_t first_split_of(const AttendRows& rows) {
  return static_cast<std::uint32_t>(rows.skipped / kSplitPages);
}

std::uint32_t last_split_of(const AttendRows& rows) {
  return static_cast<std::uint32_t>((rows.end_page() + kSplitPages - 1) / kSplitPages);
}

}  // namespace

std::vector<SharedSplit> shared_splits(std::span<const AttendRows> batch, std::uint32_t window,
                                       std::uint32_t max_rows) {
  std::vector<SharedSplit> shared;
  if (batch.size() < 2) return shared;
  std::vector<std::uint32_t> left;
  for (std::uint32_t i = 0; i < batch.size(); ++i) {
    if (2 * batch[i].rows <= max_rows && batch[i].reads == nullptr) left.push_back(i);
  }
  for (std::uint32_t split = 0; left.size() > 1; ++split) {
    const std::size_t first = std::size_t{split} * kSplitPages;
    std::erase_if(left, [&](std::uint32_t i) { return batch[i].end_page() < first + kSplitPages; });
    std::map<const std::byte*, std::vector<SharedSplit>> by_page;  // first page of the split
    for (const std::uint32_t i : left) {
      if (batch[i].skipped > first || !sees_all(batch[i], first, window)) continue;
      std::vector<SharedSplit>& groups = by_page[batch[i].page(first).keys];
      const auto fits = std::ranges::find_if(groups, [&](const SharedSplit& group) {
        std::uint32_t rows = batch[i].rows;
        for (const std::uint32_t member : group.members) rows += batch[member].rows;
        return rows <= max_rows && same_split(batch[group.members.front()], batch[i], first);
      });
      if (fits != groups.end()) {
        fits->members.push_back(i);
      } else {
        groups.push_back({split, {i}});
      }
    }
    for (auto& [page, groups] : by_page) {
      for (SharedSplit& group : groups) {
        if (group.members.size() > 1) shared.push_back(std::move(group));
      }
    }
  }
  return shared;
}

void WorkPlan::add_item(const AttendRows& rows, std::uint32_t first_row, std::uint32_t row_count,
                        std::uint32_t first_head, std::uint32_t head_count) {
  const std::uint32_t state_rows = row_count * head_count * (layer_.heads / layer_.shape.kv_heads);
  max_rows_ = std::max(max_rows_, state_rows);
  items_.push_back({static_cast<std::uint32_t>(sources_.size()), 1, first_head, head_count, first_split_of(rows),
                    last_split_of(rows), first_head});
  sources_.push_back({&rows, first_row, row_count, state_rows});
}

// Cuts the work into items. Few rows take all heads of a page at once, since a page is one stretch of memory; where
// that leaves threads idle, the keys are divided at the splits, or the heads if there are too few splits.
void WorkPlan::make(std::span<const AttendRows> batch, const AttendLayer& layer, unsigned threads) {
  layer_ = layer;
  const std::uint32_t group = layer_.heads / layer_.shape.kv_heads;
  const std::uint32_t tile_tokens = std::max(1u, kTileQueryRows / group);
  items_.clear();
  parts_.clear();
  sources_.clear();
  max_rows_ = 0;
  const std::vector<SharedSplit> shared = shared_splits(batch, layer_.window, tile_tokens);
  std::vector<bool> shares(batch.size(), false);
  for (const SharedSplit& split : shared) {
    for (const std::uint32_t i : split.members) shares[i] = true;
  }
  std::vector<std::uint32_t> item_of(batch.size(), 0);
  std::size_t units = 0;  // items if every split were one
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const AttendRows& rows = batch[i];
    const std::uint32_t splits = last_split_of(rows) - first_split_of(rows);
    if (shares[i]) {
      item_of[i] = static_cast<std::uint32_t>(items_.size());
      add_item(rows, 0, rows.rows, 0, layer_.shape.kv_heads);
      units += splits;
      continue;
    }
    for (std::uint32_t first = 0; first < rows.rows; first += tile_tokens) {
      const std::uint32_t count = std::min(tile_tokens, rows.rows - first);
      const std::uint32_t fair = splits * batch.size() >= 2 * threads ? layer_.shape.kv_heads
                                                                      : (layer_.shape.kv_heads + threads - 1) / threads;
      const std::uint32_t heads = std::clamp(kTileQueryRows / (count * group), 1u, fair);
      for (std::uint32_t h = 0; h < layer_.shape.kv_heads; h += heads) {
        add_item(rows, first, count, h, std::min(heads, layer_.shape.kv_heads - h));
        units += splits;
      }
    }
  }
  const bool idle = threads > 1 && items_.size() < kItemsPerThread * threads && units != items_.size();
  if (idle || !shared.empty()) divide(shared, item_of, idle);
}

// Into parts of one split each: all items, or only those that share. The others stay whole among the parts.
void WorkPlan::divide(std::span<const SharedSplit> shared, std::span<const std::uint32_t> item_of, bool all) {
  std::vector<std::vector<bool>> covered(items_.size());  // splits that are computed together with others
  for (const SharedSplit& split : shared) {
    for (const std::uint32_t i : split.members) {
      std::vector<bool>& of_item = covered[item_of[i]];
      of_item.resize(items_[item_of[i]].last_split, false);
      of_item[split.split] = true;
    }
  }
  std::size_t floats = 0;
  for (std::size_t i = 0; i < items_.size(); ++i) {
    if (!all && covered[i].empty()) continue;
    floats += (items_[i].last_split - items_[i].first_split) *
              state_floats(sources_[items_[i].first_source].state_rows, layer_.shape.value_dim());
  }
  float* memory = partials_.ensure(floats);
  for (std::size_t i = 0; i < items_.size(); ++i) {
    WorkItem part = items_[i];
    if (!all && covered[i].empty()) {
      parts_.push_back(part);
      continue;
    }
    WorkSource source = sources_[part.first_source];
    sources_[part.first_source].partial = source.partial = memory;
    for (std::uint32_t split = items_[i].first_split; split < items_[i].last_split; ++split) {
      source.partial = memory;
      memory += state_floats(source.state_rows, layer_.shape.value_dim());
      if (!covered[i].empty() && covered[i][split]) continue;
      part.first_split = split;
      part.last_split = split + 1;
      part.first_source = static_cast<std::uint32_t>(sources_.size());
      sources_.push_back(source);
      parts_.push_back(part);
    }
  }
  for (const SharedSplit& split : shared) {
    std::vector<std::uint32_t> items;
    for (const std::uint32_t i : split.members) items.push_back(item_of[i]);
    add_shared_parts(split.split, items);
  }
}

// As many heads at a time as one tile has room for.
void WorkPlan::add_shared_parts(std::uint32_t split, std::span<const std::uint32_t> items) {
  const std::uint32_t group = layer_.heads / layer_.shape.kv_heads;
  std::uint32_t tokens = 0;
  for (const std::uint32_t i : items) tokens += sources_[items_[i].first_source].row_count;
  const std::uint32_t heads = std::clamp(kTileQueryRows / (tokens * group), 1u, layer_.shape.kv_heads);
  max_rows_ = std::max(max_rows_, tokens * group * heads);
  for (std::uint32_t h = 0; h < layer_.shape.kv_heads; h += heads) {
    parts_.push_back({static_cast<std::uint32_t>(sources_.size()), static_cast<std::uint32_t>(items.size()), h,
                      std::min(heads, layer_.shape.kv_heads - h), split, split + 1, 0});
    for (const std::uint32_t i : items) {
      WorkSource source = sources_[items_[i].first_source];
      source.partial += (split - items_[i].first_split) * state_floats(source.state_rows, layer_.shape.value_dim());
      sources_.push_back(source);
    }
  }
}

}  // namespace cairn::attention
