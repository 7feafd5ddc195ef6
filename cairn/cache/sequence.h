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

#include "cairn/base/hash.h"
#include "cairn/base/result.h"
#include "cairn/block/block_key.h"
#include "cairn/block/page_view.h"
#include "cairn/cache/cache_core.h"
#include "cairn/cache/layer_table.h"

namespace cairn {

// Thread-compatible: one thread at a time, save for store(). Sequences of one cache may be used from different threads.
// Keeps what it needs of the cache alive and may outlive the KvCache itself. Moved-from sequences may only be destroyed
// or assigned to. Invalidated by reserve, commit, rollback, trim and destruction: spans and views handed out before.
class Sequence {
 public:
  Sequence(Sequence&& other) noexcept = default;
  Sequence& operator=(Sequence&& other) noexcept;

  std::size_t size() const { return tokens_.size(); }          // committed tokens
  std::size_t reserved() const { return reserved_; }           // tokens that commit() awaits
  std::span<const TokenId> tokens() const { return tokens_; }  // the committed ones
  std::span<const Digest> block_keys() const {
    return block_keys_;
  }  // of the leading full blocks at positions 0, 1, ...

  // Makes room for positions.size() new tokens in all layers, at these positions. Evicts from the prefix index what
  // nobody uses if need be. kOutOfBudget with the number of tokens that would have fitted, kInvalidArgument when tokens
  // are reserved already; nothing changes on failure.
  Status reserve(std::span<const std::int32_t> positions);

  // Writes `rows` reserved tokens of one layer, the first being the `first`-th reserved one; k and v are
  // [rows, kv_heads, head_dim]. Thread-safe for distinct (layer, token) pairs. Requires: first + rows <= reserved().
  void store(std::uint32_t layer, std::size_t first, std::size_t rows, const float* k, const float* v);

  // Committed and reserved tokens, in order. Every page but the last is full.
  std::span<const PageView> pages(std::uint32_t layer) const { return layers_[layer].views(); }

  // The reserved tokens, stored in all layers by now, become part of the sequence. Blocks that became full are
  // published in the prefix index if their codecs are exact and their positions are 0, 1, 2, ...; where the index has
  // an equal block, the sequence takes its pages instead of its own. kInvalidArgument when the count is not reserved().
  Status commit(std::span<const TokenId> tokens);

  // Drops the reserved tokens.
  void rollback();

  // Keeps the first `tokens` committed tokens and drops the reserved ones. kInvalidArgument when there are fewer, or
  // when the last token would lie inside a block that some layer has dropped.
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
  // Whether every layer shows every token: only then are new blocks published.
  bool intact() const { return intact_; }

  // A sequence of its own with the same committed tokens, sharing all pages. Requires: no reserved tokens (their pages
  // are being written).
  Sequence fork() const;

 private:
  friend class KvCache;
  explicit Sequence(std::shared_ptr<CacheCore> core);
  void attach(const PrefixMatch& match, std::span<const TokenId> prompt);
  std::size_t bytes_for(std::size_t tokens) const;
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
  bool intact_ = true;
};

}  // namespace cairn
