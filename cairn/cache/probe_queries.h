// SPDX-License-Identifier: Apache-2.0
// The attention of probes: which weights some queries of a sequence give each of its tokens, at one table of pages. The
// last queries wait until the prompt ends, since earlier ones than these do not count; others are counted at once, as
// they can see nothing that comes later. The n x n matrix never exists.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <vector>

#include "cairn/attention/attend.h"
#include "cairn/base/thread_pool.h"
#include "cairn/policy/scorer.h"

namespace cairn::cache {

// Under Probes::kTenth no more of the last queries than this are probes, however long the prompt.
inline constexpr std::uint32_t kMaxTwentieth = 256;

// A value; thread-compatible. Pages are counted from the sequence's first. Of Probes::kLast it keeps twice the window,
// so that a sequence can be cut a little.
class ProbeQueries {
 public:
  // `window`: how many of the last queries are probes, where `which` says so.
  ProbeQueries(Probes which, MassRule rule, std::uint32_t window)
      : which_(which), rule_(rule), window_(which == Probes::kTenth ? kMaxTwentieth : window) {}

  // Of a layer that reads this table: its rows of one sequence and all that they saw, after attention, rows.softmax
  // included. Requires: no window, so that rows.skipped is 0.
  void observe(std::uint32_t layer, const AttendRows& rows, const AttendLayer& how, ThreadPool& pool);
  // Counts the last queries, over all pages of the table. They are let go.
  void count_last(std::span<const PageView> pages, ThreadPool& pool);

  // The pass is over: its rows are the sequence's.
  void commit();

  // Whether a query at this position or later was counted, which cannot be taken back.
  bool counted_from(std::int32_t position) const;
  // Whether some of the last ones before this position were let go.
  bool lacks_before(std::int32_t position) const;
  // Queries from this position on were not computed after all, or are gone. Requires: !counted_from().
  void forget_from(std::int32_t position);

  // Whether rows are counted as they come; under kReplay they are only while a replay is.
  bool counts_all() const { return which_ == Probes::kAll || replaying_; }
  void begin_replay() {
    replaying_ = true;
    forget_replays();
  }
  // What replays of a prompt have said so far: another one begins.
  void forget_replays() { mass_.clear(); }
  // What another one counted of the same pages joins this. Requires: MassRule::kGreatest.
  void absorb(const ProbeQueries& other);

  // [kv_heads, slots] of these pages, into `mass`; how many probes could see each slot, into `seen_by`.
  void read(std::uint32_t kv_heads, std::span<const PageView> pages, std::vector<float>& mass,
            std::vector<std::uint32_t>& seen_by) const;
  std::uint32_t probes() const { return static_cast<std::uint32_t>(counted_.size()); }

  // What the policy kept, as LayerTable::replace() has it: pages [first, end) became `packed` ones.
  void pack(std::span<const std::vector<std::uint32_t>> heads, std::uint32_t kv_heads, std::size_t first,
            std::size_t end, std::size_t packed);

 private:
  struct Query {
    std::int32_t position;
    std::vector<float> q;        // [heads, head_dim]
    std::vector<float> softmax;  // [heads, 2]
  };
  // Queries of one layer that may turn out to be among the last.
  struct Waiting {
    AttendLayer how;
    std::deque<Query> kept, fresh;  // of the sequence, and of the pass in progress
    bool let_go = false;            // of some that were the sequence's
    bool fresh_let_go = false;      // of some of the pass
  };

  bool counts_at_once(std::int32_t position) const;
  std::size_t max_kept() const { return which_ == Probes::kTenth ? window_ : 2 * std::size_t{window_}; }
  // How many of a prompt's last queries are probes, by the prompt's length.
  std::size_t last_of(std::size_t tokens) const;
  void count(const AttendRows& rows, const AttendLayer& how, std::span<const PageView> pages, ThreadPool& pool);
  void count_page(const AttendRows& rows, const AttendLayer& how, const PageView& page, float* mass) const;

  Probes which_;
  MassRule rule_;
  std::uint32_t window_;
  bool replaying_ = false;
  std::map<std::uint32_t, Waiting> waiting_;  // by layer
  std::vector<std::int32_t> counted_;         // positions of probes, once for each layer that reads the table
  std::vector<std::vector<float>> mass_;      // by page, [kv_heads, kBlockTokens]
};

}  // namespace cairn::cache
