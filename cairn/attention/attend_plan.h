// SPDX-License-Identifier: Apache-2.0
// How the rows of a batch are cut into work for threads. It decides who computes what with whom, never what comes out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cairn/attention/attend.h"

namespace cairn::attention {

// Rows (tokens times query heads) that share one pass over a page: their scores stay in the second-level cache.
inline constexpr std::uint32_t kTileQueryRows = 64;

// The rows of batch[i] for each of these i have the same kSplitPages full pages in this split, and see all of them.
struct SharedSplit {
  std::uint32_t split = 0;
  std::vector<std::uint32_t> members;  // at least two
};

// Looks at those with few rows: others fill a tile by themselves. At most `max_rows` rows together.
std::vector<SharedSplit> shared_splits(std::span<const AttendRows> batch, std::uint32_t window, std::uint32_t max_rows);

// Some tokens of one sequence, and where what they got of a split is left for merging.
struct WorkSource {
  const AttendRows* rows;
  std::uint32_t first_row;
  std::uint32_t row_count;
  std::uint32_t state_rows;  // that are left there: those of all heads of the item that merges
  float* partial = nullptr;  // nullptr when the item covers every split
};

// Some tokens under some KV heads, over the splits [first_split, last_split). Several sources have the same pages
// there.
struct WorkItem {
  std::uint32_t first_source;
  std::uint32_t source_count;
  std::uint32_t first_head;
  std::uint32_t head_count;
  std::uint32_t first_split;
  std::uint32_t last_split;
  std::uint32_t merged_head;  // the first head of the item that merges it
};

// A split's result as it is kept between the two passes: max, sum and acc of each row.
constexpr std::size_t state_floats(std::uint32_t rows, std::uint32_t value_dim) {
  return std::size_t{rows} * (value_dim + 2);
}

// An item is computed whole, or its parts are, some together with those of others, and the item merges them. Keeps its
// memory from batch to batch; thread-compatible.
class WorkPlan {
 public:
  // `batch` must outlive the plan's use.
  void make(std::span<const AttendRows> batch, const AttendLayer& layer, unsigned threads);

  std::span<const WorkItem> items() const { return items_; }
  std::span<const WorkItem> parts() const { return parts_; }  // empty: compute the items whole
  std::span<const WorkSource> sources(const WorkItem& item) const {
    return std::span(sources_).subspan(item.first_source, item.source_count);
  }
  std::uint32_t max_rows() const { return max_rows_; }  // tokens times query heads of an item or part

 private:
  void add_item(const AttendRows& rows, std::uint32_t first_row, std::uint32_t row_count, std::uint32_t first_head,
                std::uint32_t head_count);
  void divide(std::span<const SharedSplit> shared, std::span<const std::uint32_t> item_of, bool all);
  void add_shared_parts(std::uint32_t split, std::span<const std::uint32_t> items);

  AttendLayer layer_;
  std::vector<WorkItem> items_;
  std::vector<WorkItem> parts_;
  std::vector<WorkSource> sources_;
  std::uint32_t max_rows_ = 0;
  Scratch<float> partials_;
};

}  // namespace cairn::attention
