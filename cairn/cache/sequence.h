// SPDX-License-Identifier: Apache-2.0
// One token sequence on the paged cache: reserve room, store K and V layer by layer while attention already reads them,
// commit. Pages are shared between forks and with the prefix index and are copied only where a shared one would be
// written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cairn/attention/page_view.h"
#include "cairn/base/hash.h"
#include "cairn/base/result.h"
#include "cairn/base/thread_pool.h"
#include "cairn/block/block_key.h"
#include "cairn/cache/cache_core.h"
#include "cairn/cache/layer_table.h"

namespace cairn {

class PendingLoad;

// Thread-compatible: one thread at a time, save for store(). Sequences of one cache may be used from different threads.
// Keeps what it needs of the cache alive and may outlive the KvCache itself. Moved-from sequences may only be destroyed
// or assigned to. Invalidated by reserve, commit, rollback, trim and destruction: spans and views handed out before.
class Sequence {
 public:
  Sequence(Sequence&& other) noexcept;
  Sequence& operator=(Sequence&& other) noexcept;
  ~Sequence();

  std::size_t size() const { return tokens_.size(); }          // committed tokens
  std::size_t reserved() const { return reserved_; }           // tokens that commit() awaits
  std::span<const TokenId> tokens() const { return tokens_; }  // the committed ones
  std::span<const Digest> block_keys() const {
    return block_keys_;
  }  // of the leading full blocks at positions 0, 1, ...

  // Of the committed tokens, those that came from the prefix index or from a store.
  std::size_t reused_tokens() const { return reused_; }

  // With a sequence that was opened while a store loads (KvCache::open_while_loading): blocks that follow block number
  // blocks_awaited_at() are on their way. Once the sequence ends there, or further on, join_incoming() makes them part
  // of it, waiting for their first layer only: size() grows, arrive() is to be called for a layer before anything
  // attends at it, and nothing else but reserve, store, encode_due, commit and rollback may follow until a commit.
  bool awaits_blocks() const { return incoming_ != nullptr && !joined_; }
  bool joined_blocks() const { return joined_; }              // since the last commit
  const PendingLoad& incoming() const { return *incoming_; }  // requires: awaits_blocks()
  bool at_awaited_blocks() const;
  void join_incoming();
  void drop_incoming();  // goes on without them
  // kIo when some blocks do not arrive, or damaged: after rollback() recover_from_loss() keeps what is sound.
  Status arrive(std::uint32_t layer, ThreadPool& pool);
  bool lost_blocks() const { return lost_; }
  void recover_from_loss(ThreadPool& pool);

  // Makes room for positions.size() new tokens in all layers, at these positions. Evicts from the prefix index what
  // nobody uses if need be. kOutOfBudget with the number of tokens that would have fitted, kInvalidArgument when tokens
  // are reserved already; nothing changes on failure.
  Status reserve(std::span<const std::int32_t> positions);

  // Writes `rows` reserved tokens of one layer, the first being the `first`-th reserved one; k and v are
  // [rows, kv_heads, head_dim]. Thread-safe for distinct (layer, token) pairs. Requires: first + rows <= reserved().
  void store(std::uint32_t layer, std::size_t first, std::size_t rows, const float* k, const float* v);

  // Encodes the blocks of one layer that are due once the first `tokens` tokens, committed or reserved, are stored in
  // it: full ones, save the sinks, the recent ones, and all of them during an exact prefill. Then pages() shows their
  // encoded form, and seen() still the other one to their own queries.
  void encode_due(std::uint32_t layer, std::size_t tokens, ThreadPool& pool);

  // What the query of a committed or reserved token sees at one layer: the blocks before its own as they are stored,
  // its own block as it was computed. So a query sees the same whether those blocks were computed in this pass or long
  // ago.
  SeenPages seen(std::uint32_t layer, std::size_t token) const {
    return layers_[layer].seen(token / kBlockTokens, core_->options.plan.recent_blocks);
  }

  const LayerSpec& layer_spec(std::uint32_t layer) const { return core_->options.layers[layer]; }
  const LayerForms& layer_forms(std::uint32_t layer) const { return layers_[layer].forms(); }

  // Where a layer that asks for it counts the attention that its tokens get: the block of `token`, or the p-th of
  // pages(). Null when that block is encoded, and in other layers.
  LayerTable::Entry* counting_block(std::uint32_t layer, std::size_t token);
  LayerTable::Entry* counting_entry(std::uint32_t layer, std::size_t p);

  // Under a plan with exact prefill: until finish_prefill nothing is encoded, and queries see the tokens since then as
  // they were computed. Both do nothing under other plans. Errors: kOutOfBudget, and blocks stay as they are.
  void begin_prefill() { deferring_ = core_->options.plan.exact_prefill; }
  Status finish_prefill(ThreadPool& pool);

  // Committed and reserved tokens, in order. Every page but the last is full.
  std::span<const PageView> pages(std::uint32_t layer) const { return layers_[layer].views(); }

  // The reserved tokens, stored in all layers by now, with encode_due called for each layer that encodes, become part
  // of the sequence. Blocks that became full are published in the prefix index if the plan allows it and their
  // positions are 0, 1, 2, ...; where the index has an equal block, the sequence takes its pages instead of its own.
  // kInvalidArgument when the count is not reserved().
  Status commit(std::span<const TokenId> tokens);

  // Drops the reserved tokens. Where attention was counted since reserve(), it ends publishing: the count is not
  // undone.
  void rollback();

  // Keeps the first `tokens` committed tokens and drops the reserved ones. A cut inside an encoded block leaves what
  // its tokens decode to, which ends publishing. kInvalidArgument when there are fewer, or when the last token would
  // lie inside a block that some layer has dropped; kOutOfBudget when an encoded block cannot be opened again.
  Status trim(std::size_t tokens);

  // Lets go of one layer's K and V of the full block that begins at `first_token`: that layer attends without it from
  // now on, the others keep theirs. Nothing that is computed afterwards is exact, so none of it is published, in this
  // sequence or its forks. kInvalidArgument when there is no such full block at that layer, or while tokens are
  // reserved.
  Status drop_block(std::uint32_t layer, std::size_t first_token);
  // No query sees these committed tokens from now on, at any layer: an eviction as far as attention can tell, which
  // frees nothing. Like drop_block it ends publishing. kInvalidArgument when there is no such token, or while tokens
  // are reserved; nothing changes then.
  Status hide(std::span<const std::size_t> tokens);
  // As they count against the budget, pages that others hold too included.
  std::size_t bytes_held() const;
  // Whether every layer shows every token: only then are new blocks published.
  bool intact() const { return intact_; }

  // A sequence of its own with the same committed tokens, sharing all pages. Requires: no reserved tokens (their pages
  // are being written).
  Sequence fork() const;

 private:
  friend class KvCache;
  explicit Sequence(std::shared_ptr<CacheCore> core);
  void attach(const PrefixMatch& match, std::span<const TokenId> prompt);
  void append_block(const Digest& key, std::span<const PageRef> pages, std::span<const TokenId> tokens);
  void index_incoming();
  std::size_t bytes_for(std::size_t tokens) const;
  std::size_t settling_end(std::size_t tokens) const;
  Status reopen_tail(std::size_t tokens);
  void distrust_tail();
  std::size_t tokens_that_fit(std::size_t bytes) const;
  void own_tail(Reservation& room);
  void own_tail_positions();
  void shrink_layers(std::size_t tokens);
  void seal_full_blocks();

  std::shared_ptr<CacheCore> core_;  // first: the pool must outlive the pages below
  std::vector<LayerTable> layers_;
  std::vector<TokenId> tokens_;
  std::vector<Digest> block_keys_;
  std::size_t reserved_ = 0;
  Reservation encoding_room_;       // for the blocks that the reserved tokens make due
  std::size_t settled_blocks_ = 0;  // block numbers below are encoded, or never will be
  bool deferring_ = false;
  bool intact_ = true;
  bool attended_ = false;  // since reserve(): blocks may be encoded and attention counted
  std::size_t reused_ = 0;
  std::unique_ptr<PendingLoad> incoming_;
  std::size_t joined_at_ = 0;  // the number of the first block that came with incoming_
  bool joined_ = false, lost_ = false;
};

}  // namespace cairn
