// SPDX-License-Identifier: Apache-2.0
// The mean and covariance of a sequence's queries before their rotation, at one table of pages, for policies that guess
// what queries will look at (Expected Attention). Sums of q and q q' alone are kept: no second product with the keys.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "cairn/attention/attend.h"
#include "cairn/base/thread_pool.h"
#include "cairn/block/rope.h"
#include "cairn/policy/scorer.h"

namespace cairn::cache {

// A value; thread-compatible. Takes (head_dim + 3) * head_dim / 2 doubles for each query head.
class QueryMoments {
 public:
  // Of queries whose keys are rotated by `rope`; those at the first `sinks` positions do not count.
  QueryMoments(RopeSpec rope, std::uint32_t sinks)
      : rope_(std::move(rope)), frequencies_(rope_.inverse_frequencies()), sinks_(sinks) {}

  // Rows of a layer that reads this table, in the order of their positions: sums do not depend on how they are cut.
  void observe(std::uint32_t layer, const AttendRows& rows, const AttendLayer& how, ThreadPool& pool);
  // Whether a query at this position or later was counted, which cannot be taken back.
  bool counted_from(std::int32_t position) const { return position < counted_; }
  // The sums go; what was counted is remembered.
  void let_go() { of_layer_.clear(); }

  std::size_t bytes() const;

  QueryGaussians read(PageShape shape) const;

 private:
  struct Sums {
    std::uint32_t heads = 0;
    std::size_t queries = 0;
    std::vector<double> values;    // [heads, head_dim]
    std::vector<double> products;  // [heads, head_dim * (head_dim + 1) / 2]: the lower triangle
  };

  RopeSpec rope_;
  std::vector<double> frequencies_;
  std::uint32_t sinks_;
  std::int32_t counted_ = 0;  // one more than the last position that counts
  std::map<std::uint32_t, Sums> of_layer_;
};

}  // namespace cairn::cache
