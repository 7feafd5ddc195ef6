// SPDX-License-Identifier: Apache-2.0
#include "cairn/attention/page_sharing.h"

#include <algorithm>
#include <map>

#include "cairn/block/block_key.h"

namespace cairn {
namespace {

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

}  // namespace

std::vector<SharedSplit> shared_splits(std::span<const AttendRows> batch, std::uint32_t window,
                                       std::uint32_t max_rows) {
  std::vector<SharedSplit> shared;
  if (batch.size() < 2) return shared;
  std::vector<std::uint32_t> left;
  for (std::uint32_t i = 0; i < batch.size(); ++i) {
    if (2 * batch[i].rows <= max_rows) left.push_back(i);
  }
  for (std::uint32_t split = 0; left.size() > 1; ++split) {
    const std::size_t first = std::size_t{split} * kSplitPages;
    std::erase_if(left, [&](std::uint32_t i) {
      return batch[i].page_count() < first + kSplitPages || !sees_all(batch[i], first, window);
    });
    std::map<const std::byte*, std::vector<SharedSplit>> by_page;  // first page of the split
    for (const std::uint32_t i : left) {
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

}  // namespace cairn
