// SPDX-License-Identifier: Apache-2.0
// What a sequence holds: shared by Sequence, which its users see, by Pass, which computes on it, and by PendingLoad,
// which adds blocks to it.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "cairn/base/hash.h"
#include "cairn/base/result.h"
#include "cairn/base/thread_pool.h"
#include "cairn/block/block_key.h"
#include "cairn/block/page_pool.h"
#include "cairn/cache/cache_core.h"
#include "cairn/cache/layer_table.h"
#include "cairn/cache/token_policy.h"

namespace cairn::cache {

// A prompt and the keys of its whole blocks, so that they are hashed once.
struct KeyedPrompt {
  std::vector<TokenId> tokens;
  std::vector<Digest> keys;
};

// Thread-compatible.
struct SequenceState {
  explicit SequenceState(std::shared_ptr<CacheCore> cache_core);

  std::shared_ptr<CacheCore> core;              // first: the pool must outlive the pages below
  std::vector<LayerTable> tables;               // as CacheCore::tables
  std::vector<TokenId> tokens;                  // committed
  std::vector<Digest> block_keys;               // of the leading full blocks at positions 0, 1, ...
  std::shared_ptr<const KeyedPrompt> prompt{};  // what the sequence was opened for; may be null
  std::size_t closed_blocks = 0;                // block numbers below are encoded, or never will be
  std::size_t reused = 0;                       // of the tokens, those that came from the index or a store
  std::size_t known = 0;                        // as it was opened, what the index knew: more where windows were lost
  bool intact = true;                           // every layer shows every token as it was computed
  bool by_tokens = true;    // what is held follows from the tokens and the policy alone, whatever that packed
  bool prefilling = false;  // nothing is encoded until encode_prefill()
  bool in_pass = false;
  std::optional<TokenPolicy> policy{};  // after the core, whose memory it holds
  bool owes_retention = false;          // one failed that cannot be put off: the next pass begins with it
  std::size_t offered_blocks = 0;       // closed_blocks when offload_blocks() last tried
  std::size_t moved_blocks = 0;         // block numbers below have moved out of memory, where the policy wants it
  std::size_t packed_tokens = 0;        // slots below are not where their tokens were: a retention packed some layer

  LayerTable& table(std::uint32_t layer) { return tables[core->table_of[layer]]; }
  const LayerTable& table(std::uint32_t layer) const { return tables[core->table_of[layer]]; }

  // A full block whose pages are final, after full ones. Pages of layers with a window may be missing where the next
  // token does not see them.
  void append_block(const Digest& key, const BlockPages& pages, std::span<const TokenId> block_tokens);
  // Keeps the pages of the first `num_tokens` tokens.
  void shrink(std::size_t num_tokens);
  // Layers with a window let go of the blocks that no further token sees.
  void release_behind_windows();
  // Whether a row at one of these positions sees tokens that a layer with a window has let go of.
  bool misses(std::span<const std::int32_t> positions) const;
  // One more than the position of the last of the first `num_tokens` tokens that is not hidden, 0 without one; nothing
  // where no layer holds it.
  std::optional<std::int64_t> position_after(std::size_t num_tokens) const;
  // A block that was full, or came from a fork, shares its positions with others that must not see the next append.
  void own_tail_positions();
  // Something other than its policy changed what it holds: nothing of it is for others any more.
  void leave_its_tokens() { intact = by_tokens = false; }
  // What made a block unencodable may be gone with the tokens that were dropped, and then a cold run would encode it.
  void distrust_tail();

  // The number of the first block that stays open in a sequence of `tokens` tokens.
  std::size_t closing_end(std::size_t num_tokens) const;
  // Encodes the blocks of one table that are due once the first `num_tokens` tokens are stored in it: full ones, save
  // the sinks, the recent ones, and all of them while prefilling.
  void encode_due(std::size_t table, std::size_t num_tokens, Reservation& room, ThreadPool& pool);
  // Ends an exact prefill. kOutOfBudget, and blocks stay as they are.
  Status encode_prefill(ThreadPool& pool);

  // The key of a full block whose predecessors have theirs in block_keys.
  Digest key_of(std::size_t block) const;
  // Offers full blocks that have no key yet to the index, and to a store what the index does not know. Where the index
  // has an equal block, the sequence takes its pages instead of its own.
  void seal_full_blocks();
  // The same for one block that came from the store.
  void index_block(std::size_t block);

 private:
  SealedBlock sealed_block(std::size_t block) const;
  void take_pages_of_index(SealedBlock sealed, std::size_t block);
};

}  // namespace cairn::cache
