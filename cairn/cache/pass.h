// SPDX-License-Identifier: Apache-2.0
// The only way to compute on sequences: rows of several of them, all layers in turn, all or nothing (docs/pass.md).
//
//   CAIRN_TRY(Pass pass, runner.begin(rows));
//   for each layer: pass.append(layer, k, v, x), then pass.attend({layer, rows, q, out})
//   pass.commit(tokens)                                   or let go of it: then nothing has changed
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <utility>
#include <vector>

#include "cairn/attention/attend.h"
#include "cairn/attention/signals.h"
#include "cairn/base/aligned_buffer.h"
#include "cairn/base/result.h"
#include "cairn/base/thread_pool.h"
#include "cairn/block/block_key.h"
#include "cairn/cache/sequence.h"

namespace cairn {

// Rows of one sequence. Row i is the token at `positions[i]`; its K and V go to slot `slots[i]`, its place in the
// sequence. Without slots the rows are new tokens at the end, in order. With them they may come in any order, and slots
// of tokens that the sequence has already are rewritten; the others must be those that follow its end. Masks go by
// position, never by slot.
struct PassRows {
  Sequence* sequence = nullptr;
  std::span<const std::int32_t> positions;
  std::span<const std::size_t> slots{};
};

// Queries of one layer.
struct PassQueries {
  std::uint32_t layer = 0;
  std::span<const std::uint32_t> rows;  // of the pass, ascending: those whose outputs are wanted
  const float* q = nullptr;             // [rows, heads, head_dim], rotated, softmax scale folded in
  float* out = nullptr;                 // [rows, heads, PageShape::value_dim()]
  float score_cap = 0;                  // AttendLayer::score_cap
  std::span<const float> sinks{};       // AttendLayer::sinks
};

class PassRunner;

// Thread-compatible. Moved-from passes may only be destroyed.
class Pass {
 public:
  Pass(Pass&& other) noexcept : runner_(std::exchange(other.runner_, nullptr)) {}
  Pass& operator=(Pass&&) = delete;
  ~Pass();  // without commit() nothing has changed, save that rolled back attention mass ends publishing

  std::size_t num_rows() const;

  // Stores K and V of all rows, [rows, kv_heads, head_dim] in the order of begin(), at one layer. `x` is what they were
  // computed from, [rows, width], or null; it is only shown to listeners. At a layer that reads another one's keys and
  // values nothing is stored; `v` is not read where values lie in the keys.
  void append(std::uint32_t layer, const float* k, const float* v, const float* x = nullptr);

  // Whether every row must have its query in attend(), even where its output is not wanted.
  bool needs_all_rows(std::uint32_t layer) const;

  // Attends. Blocks that a store is loading are waited for, blocks that become due are encoded before anything later is
  // computed over them, and signals go to who asked for them. To be called for every layer that encodes, with or
  // without rows. Requires: append() of this layer, or of the one it reads. kIo when joined blocks do not arrive: the
  // pass cannot go on.
  Status attend(const PassQueries& queries);

  // What a row sees at a layer: the blocks before its own as they are stored, its own as it was computed. So a query
  // sees the same whether those blocks were computed in this pass or long ago.
  SeenPages seen(std::uint32_t layer, std::size_t row) const;

  // The rows, stored in all layers by now, become part of their sequences: tokens in the order of begin(). New full
  // blocks are published if the plan allows it and their positions are 0, 1, 2, ...; rewriting ends publishing.
  // kInvalidArgument when there are not as many tokens as rows: the pass goes on.
  Status commit(std::span<const TokenId> tokens);

 private:
  friend class PassRunner;
  explicit Pass(PassRunner* runner) : runner_(runner) {}
  PassRunner* runner_;
};

// Threads and memory for passes, one at a time; thread-compatible.
class PassRunner {
 public:
  // `listener` may be null; it and the pool must outlive this.
  PassRunner(std::uint32_t heads, ThreadPool& pool, SignalListener* listener = nullptr)
      : heads_(heads), pool_(pool), listener_(listener) {}
  PassRunner(const PassRunner&) = delete;
  PassRunner& operator=(const PassRunner&) = delete;

  // Makes room for all rows, or changes nothing; unused blocks are evicted from the prefix index if need be.
  // Sequences of several caches may share a pass if their caches have the same layers and plans. Requires: no other
  // pass of this runner. Errors: kInvalidArgument (a sequence that is in a pass already, slots that make no sense),
  // kUnsupported (a slot in an encoded or dropped block), kOutOfBudget with the number of tokens that would have
  // fitted.
  Result<Pass> begin(std::span<const PassRows> batch);

 private:
  friend class Pass;

  // The rows of one sequence.
  struct Part {
    Sequence* sequence;
    std::size_t first_row;
    std::size_t num_rows;
    std::size_t old_size;    // of the sequence
    std::size_t num_tokens;  // after the pass
    bool ordered;            // rows are new tokens in order
    bool attended = false;   // blocks may be encoded and attention counted
    Reservation room{};      // for the blocks that become due

    cache::SequenceState& state() const { return *sequence->state_; }
    cache::PendingLoad* load() const { return sequence->load_.get(); }
  };
  // A block before it was rewritten.
  struct Rewritten {
    std::size_t part, table, block;
    std::uint32_t count;
    cache::LayerTable::Entry before;
  };

  Status open_part(const PassRows& rows);
  // The numbers of the blocks that slots rewrite.
  static Result<std::vector<std::size_t>> check_slots(const PassRows& rows);
  void rewrite_block(std::size_t number, const PassRows& rows, Reservation& room);
  void commit_part(std::size_t number, std::span<const TokenId> tokens);
  void roll_back();
  void end();

  AttendLayer layer_of(const PassQueries& queries) const;
  bool counts_mass(std::uint32_t layer) const;
  std::span<const std::uint32_t> in_slot_order(const Part& part, const PassQueries& queries, std::size_t first);
  AttendRows next_run(const Part& part, const PassQueries& queries, std::span<const std::uint32_t> order,
                      const AttendLayer& how) const;
  void encode_due(Part& part, std::uint32_t layer, std::size_t num_tokens);
  Status attend_at_once(const PassQueries& queries, const AttendLayer& how);
  bool is_observed(std::uint32_t layer) const;
  void attend_and_count(const PassQueries& queries, const AttendLayer& how);
  void count_mass(Part& part, std::uint32_t layer, std::size_t slot, const AttendRows& rows, const AttendLayer& how);

  const std::uint32_t heads_;
  ThreadPool& pool_;
  SignalListener* const listener_;
  Attention attention_;
  // Of the pass in progress.
  std::vector<Part> parts_;
  std::vector<std::size_t> slots_;       // of all rows
  std::vector<std::int32_t> positions_;  // of all rows
  std::vector<std::uint32_t> part_of_;   // of all rows
  std::vector<Rewritten> rewritten_;
  // Of the layer in progress.
  std::vector<std::int32_t> query_positions_;
  std::vector<std::uint32_t> order_;
  std::vector<AttendRows> attend_rows_;
  std::vector<Part*> attend_parts_;         // of these
  std::deque<cache::ReadSelection> reads_;  // what some of them read; longer than needed
  bool tells_softmax_ = false;
  Scratch<float> softmax_;  // [rows, heads, 2]
};

}  // namespace cairn
