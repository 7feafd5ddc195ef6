// SPDX-License-Identifier: Apache-2.0
// What a query thinks of the boxes that it could read at one table, by what its policy's reader goes by.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "cairn/attention/attend.h"
#include "cairn/base/thread_pool.h"
#include "cairn/cache/key_boxes.h"
#include "cairn/cache/key_sketches.h"
#include "cairn/cache/rest_of_values.h"
#include "cairn/cache/sheet_shelf.h"
#include "cairn/cache/value_means.h"
#include "cairn/policy/reader.h"

namespace cairn::cache {

// Memory that is used again from layer to layer.
struct ReadScratch {
  std::vector<float> q;     // of all heads, in the basis of the keys
  std::vector<float> tops;  // [heads, boxes]
  SketchQueries sketch_queries;
  TokenWeights weights;  // where something stands for what is not read
};

// Boxes or sketches of one table, as far as the policy's reader scores them, and the means of values, where these stand
// for what is not read. A value; thread-compatible.
class ReadScores {
 public:
  // For retention nothing is kept.
  ReadScores(const PolicySpec& policy, PageShape shape);

  // Whether boxes get scores.
  bool scores() const;
  std::size_t bytes() const;
  std::size_t blocks() const;                    // that are covered; of a reader that keeps nothing all are
  std::size_t growth(std::size_t blocks) const;  // KeyBoxes
  // Before growth() and cover(): takes what others have made of the same blocks. After these: offers it to others, from
  // block `first` on.
  void take_from_shelf(std::size_t blocks, const ShelfPlace& place);
  void put_on_shelf(std::size_t first, const ShelfPlace& place);
  void cover(std::span<const PageView> pages, std::size_t blocks, const LayerBasis& basis, Reservation& room,
             ThreadPool& pool);
  void shrink(std::size_t blocks);

  // scores [kv_heads, boxes of rows.pages]: what all query heads of a KV head think of a box together, the sum of their
  // softmax over the boxes. Readers that go by keys score a box by its strongest token. Where a reader leaves some out,
  // these have -infinity. Where the policy has a rest, scratch.weights say afterwards what each query head thinks of
  // the tokens by themselves. Requires: cover() of these pages; scores(); one row.
  void score(const PolicySpec& policy, const AttendRows& rows, const AttendLayer& how, ThreadPool& pool,
             ReadScratch& scratch, std::span<float> scores) const;
  // Null unless the policy has a rest.
  const ValueMeans* value_means() const { return value_means_ ? &*value_means_ : nullptr; }

 private:
  // In turn, with numbers that tell them apart: of each that this reader keeps.
  template <class Visit>
  void each_sheets(const Visit& visit) {
    if (boxes_) visit(boxes_->sheets(), reader_->by == ReadBy::kMeans ? 1u : 0u);
    if (clusters_) visit(clusters_->sheets(), 2u);
    if (sketches_) visit(sketches_->sheets(), 3u);
    if (value_means_) visit(value_means_->sheets(), 4u);
  }
  void by_boxes(const PolicySpec& policy, const AttendLayer& how, ThreadPool& pool, ReadScratch& scratch,
                std::span<float> scores) const;
  // Boxes that have -infinity keep it.
  void by_keys(const AttendRows& rows, const AttendLayer& how, ThreadPool& pool, ReadScratch& scratch,
               std::span<float> scores) const;

  const Reader* reader_;
  std::optional<KeyBoxes> boxes_, clusters_;
  std::optional<KeySketches> sketches_;
  std::optional<ValueMeans> value_means_;
};

}  // namespace cairn::cache
