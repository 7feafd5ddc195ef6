// SPDX-License-Identifier: Apache-2.0
// The last queries of a sequence at each layer, for readers that ask with a window of them (ActQKV).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <vector>

#include "cairn/attention/attend.h"

namespace cairn::cache {

// A value; thread-compatible. Keeps twice the window of each layer, so that a sequence can be cut a little.
class RecentQueries {
 public:
  explicit RecentQueries(std::uint32_t window) : window_(window) {}

  // Rows of the pass in progress, oldest first.
  void observe(std::uint32_t layer, const AttendRows& rows, std::uint32_t heads, std::uint32_t head_dim);
  // The last `window` queries of a layer, the last observed one included, oldest first: [heads, head_dim] each. Fewer
  // where the sequence has fewer. Valid until the next observe().
  std::vector<const float*> window(std::uint32_t layer) const;

  std::size_t bytes() const;

  // The pass is over: its rows are the sequence's, or were never there.
  void commit();
  void roll_back();

  // Whether a window that ends before this position would lack queries that were let go.
  bool lacks_before(std::int32_t position) const;
  // Rows from this position on are gone.
  void forget_from(std::int32_t position);

 private:
  struct Query {
    std::int32_t position;
    std::vector<float> q;
  };
  struct Layer {
    std::deque<Query> kept, fresh;  // of the sequence, and of the pass in progress
    bool let_go = false;            // of some that were the sequence's
    bool fresh_let_go = false;      // of some of the pass
  };

  std::uint32_t window_;
  std::map<std::uint32_t, Layer> layers_;
};

}  // namespace cairn::cache
