// SPDX-License-Identifier: Apache-2.0
// The token policy of one sequence: what it has observed, what it has kept, and what each query reads
// (docs/policies.md). Decisions are those of the policy module; this collects what they go by and carries them out.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cairn/attention/attend.h"
#include "cairn/base/result.h"
#include "cairn/base/thread_pool.h"
#include "cairn/cache/cache_core.h"
#include "cairn/cache/probe_queries.h"
#include "cairn/cache/query_moments.h"
#include "cairn/cache/read_scores.h"
#include "cairn/cache/recent_queries.h"
#include "cairn/policy/aging.h"
#include "cairn/policy/policy.h"
#include "cairn/policy/reader.h"
#include "cairn/policy/retention.h"

namespace cairn {

// What a policy did to a sequence. A value.
struct PolicyReport {
  std::string policy;  // canonical text; empty without one
  // Of the sequence at the last retention, those included that earlier ones let go of: each once for every layer that
  // it may touch and every KV head there.
  std::size_t tokens_before = 0;
  std::size_t tokens_kept = 0;      // of these, in the layer's own form
  std::size_t tokens_demoted = 0;   // of these, in fewer bits; the others are gone
  std::size_t bytes_freed = 0;      // of the sequence's pages, by all retentions
  std::uint64_t boxes_offered = 0;  // that queries could have read: each counts once for every KV head
  std::uint64_t boxes_read = 0;     // of these
  std::uint64_t put_off = 0;        // retentions that found no room for survivors and were put off
  std::uint64_t not_offloaded = 0;  // times that blocks should have left memory and could not
  std::string why_not_offloaded{};  // the last time
  std::size_t bytes_offloaded = 0;  // of the sequence's pages, that lie beside the KV budget
  std::size_t box_bytes = 0;        // held beside the pages to choose among them; each choice reads them all
  std::size_t query_bytes = 0;      // held of queries, their sums or the last of them; outside the budget

  // The same by layer that it may touch, over its KV heads, the open block included.
  struct LayerKept {
    std::size_t before = 0, kept = 0;  // tokens
  };
  std::vector<LayerKept> layers{};

  double read_fraction() const {
    return boxes_offered == 0 ? 1.0 : static_cast<double>(boxes_read) / static_cast<double>(boxes_offered);
  }
};

// How many tokens of a prompt may come from the prefix index under a policy: the rest must be computed, since it looks
// at their queries, or since they see what is left after a retention. (For these see kept_prefixes.h.)
std::size_t reusable_tokens(const PolicySpec& policy, std::size_t prompt_tokens);

// How many of the `wanted` tokens that follow `held` ones may share a pass: those up to where the policy acts next, the
// end of the prompt among others.
std::size_t tokens_until_action(const PolicySpec& policy, std::size_t prompt_tokens, std::size_t held,
                                std::size_t wanted);

}  // namespace cairn

namespace cairn::cache {

// Whose pages a query reads instead of all. Memory that is used again from layer to layer.
struct ReadSelection {
  std::vector<PageView> pages;
  std::vector<std::uint8_t> reads;    // AttendRows::reads
  std::vector<std::uint8_t> by_page;  // the same of all pages
  std::vector<float> scores;
  ReadScratch scratch;
  std::vector<std::vector<std::uint32_t>> chosen;  // by KV head
  std::vector<float> rest;                         // AttendRows::rest
};

// Whose query is asked what it reads, and where.
struct AskingRow {
  std::uint32_t layer = 0;
  std::size_t table = 0;           // of the layer
  std::size_t slot = 0;            // of the sequence
  std::span<const Digest> keys{};  // of its leading blocks, as far as they are published
};

// What one table keeps of a retention that is planned.
struct PlannedPack {
  std::size_t table = 0;
  LayerKeep keep{};                // by slots, counted from the first of these:
  std::size_t first = 0, end = 0;  // entries of the table
  std::size_t layer = 0;           // of PolicyReport::layers
  // Where it demotes, once that was looked for: blocks of which something stays since no code can stand for it. `keep`
  // names it then.
  std::optional<std::size_t> kept_raw{};
};

// By table: whether a policy may do something there. A layer with a window may read the table of one without: its
// window says what it needs.
std::vector<bool> touched_tables(std::span<const LayerSpec> layers);

// A value; thread-compatible.
class TokenPolicy {
 public:
  // kUnsupported where the layers or codecs of such a cache cannot follow it, kInvalidArgument where its profile is for
  // other layers.
  static Status check(const PolicySpec& spec, const KvCacheOptions& options);

  // Requires: check().
  TokenPolicy(const PolicySpec& spec, const CacheCore& core);

  const PolicySpec& spec() const { return spec_; }
  PolicyReport& report() { return report_; }
  const PolicyReport& report() const { return report_; }

  // Of the first prompt; later ones begin and end too, and change nothing but what their queries read.
  bool prompt_ended() const { return prompt_tokens_ > 0; }
  std::size_t prompt_tokens() const { return prompt_tokens_; }
  void begin_prompt() { in_prompt_ = true; }
  void leave_prompt() { in_prompt_ = false; }
  void end_prompt(std::size_t tokens);

  // What is left to do of a retention: a layer that found no room is packed later by the same plan. Slots of full
  // blocks alone are in it, so tokens that come meanwhile change nothing.
  std::deque<PlannedPack>& planned() { return planned_; }
  // At this size of the sequence a plan was made, all of which is in planned() or done.
  void set_planned_at(std::size_t tokens) {
    if (tokens == borders_ + spec_.chunk) borders_ = tokens;
    planned_at_ = tokens;
    planned_tokens_ = tokens / kBlockTokens * kBlockTokens;
  }
  bool is_planned_at(std::size_t tokens) const { return planned_at_ == tokens; }
  // Whether this many tokens end a chunk of the prompt, and a plan was made there and at the end of each chunk before.
  bool retained_at_every_border(std::size_t tokens) const { return tokens > 0 && borders_ == tokens; }
  std::size_t planned_tokens() const { return planned_tokens_; }  // of the full blocks that the last plan was about
  // How many of these tokens were decoded after the last plan.
  std::size_t decoded_since_plan(std::size_t tokens) const { return tokens - std::max(planned_at_, prompt_tokens_); }
  // Blocks from the one of this token on are not what they were, or are gone: a plan of them is no longer true.
  void forget_plan_from(std::size_t token);

  // Whether the queries of a table's layers must be shown to observe().
  bool observes(std::size_t table) const;
  void observe(std::size_t table, std::uint32_t layer, const AttendRows& rows, const AttendLayer& how,
               ThreadPool& pool);
  // Sequence::wants_replay() and what follows, of a sequence of this many tokens.
  bool wants_replay(std::size_t tokens) const;
  std::size_t begin_replays(std::size_t tokens);
  void begin_replay();
  void absorb_replay(const TokenPolicy& twin, std::size_t tokens, std::size_t repeated);

  // Whether it counted the attention of rows from this position on, or lacks queries before it: then they cannot go.
  bool counted_from(std::int32_t position) const;
  // The sequence was cut to this many tokens. Requires: !counted_from() of this position.
  void trim(std::size_t tokens);
  // Rows from this position on are gone, and blocks from this number on have changed.
  void forget_from(std::int32_t position, std::size_t block);
  // The same for a pass that did not happen. What it counted cannot be taken back: then is_lost().
  void roll_back(std::int32_t position, std::size_t block);
  bool is_lost() const { return lost_; }

  // Whether queries of a table's layers may read less than all.
  bool selects(std::size_t table) const {
    return spec_.reads_less() && prompt_ended() && !in_prompt_ && tables_[table].touched;
  }
  // Narrows what the one row of `rows` reads; false: it reads all. `into` must live as long as `rows`. kOutOfBudget
  // when there is no room for boxes of its blocks. Requires: remember(), where it remembers().
  Result<bool> select(const AskingRow& row, AttendRows& rows, const AttendLayer& how, CacheCore& core, ThreadPool& pool,
                      ReadSelection& into);
  // Whether every query of a table's layers must be shown to remember(), in the order of their positions.
  bool remembers(std::size_t table) const { return remembers_queries() && tables_[table].touched; }
  bool remembers_queries() const { return spec_.reads_less() && spec_.reader->window; }
  void remember(std::uint32_t layer, const AttendRows& rows, const AttendLayer& how) {
    recent_queries_.observe(layer, rows, how.heads, how.shape.head_dim);
  }
  // A pass is over, and its rows are the sequence's.
  void end_pass();

  struct Table {
    bool touched = false;  // no window, and a policy may do something here
    ProbeQueries probes;
    QueryMoments moments;
    ReadScores boxes;
    bool follows = false;  // the scores of the table before serve it too: it is of the same group of layers
    std::vector<PromptKept> prompt_kept{};  // where tokens age
    bool chooses = true;                    // for itself, and for the next table too if that does not

    bool counted_from(std::int32_t position) const {
      return probes.counted_from(position) || moments.counted_from(position);
    }
  };
  std::vector<Table>& tables() { return tables_; }
  std::size_t box_bytes() const;
  std::size_t query_bytes() const;

 private:
  void form_groups(const CacheCore& core);

  // What a row chose at one table, for the next one.
  struct SharedChoice {
    std::size_t table = 0, boxes = 0;
    std::vector<std::vector<std::uint32_t>> chosen;  // ReadSelection::chosen
  };

  Status choose(const AskingRow& row, const AttendRows& rows, const AttendLayer& how, CacheCore& core, ThreadPool& pool,
                ReadSelection& into);

  PolicySpec spec_;
  PolicyReport report_;
  std::size_t prompt_tokens_ = 0;  // 0: it has not ended
  bool in_prompt_ = false;
  std::deque<PlannedPack> planned_;
  std::size_t planned_at_ = 0, planned_tokens_ = 0;  // 0: no plan was made, or it is no longer true
  std::size_t borders_ = 0;                          // tokens up to which it made a plan at the end of each chunk
  std::size_t replayed_ = 0, replayed_of_ = 0;       // tokens that replays have repeated, of how many
  bool lost_ = false;
  std::vector<Table> tables_;  // as CacheCore::tables
  RecentQueries recent_queries_;
  std::map<std::size_t, SharedChoice> shared_choices_;  // by slot, of the pass in progress
};

}  // namespace cairn::cache
