// SPDX-License-Identifier: Apache-2.0
// The KV cache of an engine: opens sequences on the longest prefix it knows, within one hard byte budget.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "cairn/base/result.h"
#include "cairn/block/block_key.h"
#include "cairn/cache/cache_core.h"
#include "cairn/cache/planned_bytes.h"
#include "cairn/cache/sequence.h"
#include "cairn/policy/policy.h"

namespace cairn {

struct KvCacheStats {
  std::size_t bytes_used = 0;       // pages of sequences, the index and kept prefixes, each counted once, and sheets
  std::size_t sheet_bytes = 0;      // of these, sheets of blocks in the index, which go before any block
  std::size_t bytes_budget = 0;     // never exceeded by bytes_used
  std::size_t high_water = 0;       // the most bytes_used has been
  std::size_t bytes_offloaded = 0;  // at KvCacheOptions::offload, beside the budget
  // Blocks of a layer that were not encoded since they held infinities or not-a-numbers.
  std::uint64_t blocks_kept_raw = 0;
  // Of what has passed through a cold form: the bytes of its parts, and how many keys and values they stand for.
  std::uint64_t cold_bytes = 0, cold_values = 0;
  PrefixIndexStats index;  // zeros while reuse is off
  KeptPrefixStats kept;    // the same
};

// Thread-safe; each sequence belongs to one thread at a time. Sequences may outlive the cache.
class KvCache {
 public:
  // kInvalidArgument for options that make no sense; kOutOfBudget, with the least budget that works, when not even one
  // block fits; kIo when the system refuses the address space.
  static Result<std::unique_ptr<KvCache>> create(const KvCacheOptions& options);

  // What create would say of these options, without making anything; the root does not matter.
  static Status check(const KvCacheOptions& options) { return cache::CacheCore::check(options); }

  // Whether sequences of such a cache can have this token policy; kUnsupported says why not.
  static Status check_policy(const KvCacheOptions& options, const PolicySpec& policy);

  // A sequence that already holds the longest known prefix of whole blocks, but never the whole prompt: the last token
  // must be computed for its logits. It may be empty; so may the prompt. `keys` are those of its leading whole blocks
  // as far as the caller knows them: what is missing is hashed here.
  // With a policy, which is then the sequence's: what it found is at most reusable_tokens() of the prompt, or what a
  // sequence before it kept of such a prompt under the same policy (kept_prefixes.h). Requires: check_policy().
  Sequence open(std::span<const TokenId> prompt, std::span<const Digest> keys = {}, const PolicySpec* policy = nullptr);

  // The same, but blocks that only the store has may still be on their way: see Sequence::poll_load(). Without a store
  // it is open().
  Sequence open_while_loading(std::span<const TokenId> prompt, std::span<const Digest> keys = {},
                              const PolicySpec* policy = nullptr);

  const KvCacheOptions& options() const { return core_->options; }
  // K and V of full blocks as they are kept, of all layers; of layers with a window only as far as it reaches.
  std::size_t bytes_of(std::size_t tokens) const;
  // What one token more adds to a long sequence: layers without a window.
  std::size_t bytes_per_token() const;
  std::size_t stored_block_bytes(bool encrypted) const;  // of a full block's record in a store
  // Of a full block as it is kept, by its place in the prefix: in layers without a window, which keep it as long as
  // there is the sequence, or in all.
  std::size_t block_bytes(std::size_t number, bool windows = false) const;
  // The most that a sequence takes on its way to `tokens` tokens when it grows one by one: encoded blocks, those that
  // stay open, the open tail, and both forms of a block while it is encoded. Longer passes take more: they keep every
  // block open that they touch.
  // Layers with a window let go of what is behind it after a pass: with passes of `rows` rows they hold more for a
  // while.
  std::size_t bytes_for(std::size_t tokens, std::size_t rows = 1) const;
  // The same of a part of the way, under a policy, which may let tokens go on it. Null: none.
  PlannedBytes planned_bytes(const PolicySpec* policy, const PlannedGrowth& growth) const;
  KvCacheStats stats() const;

  // How many of the leading keys of a chain are held in memory; not a lookup.
  std::size_t known(std::span<const Digest> keys) const { return core_->index ? core_->index->known(keys) : 0; }
  // See PrefixIndex::list.
  std::vector<IndexedBlock> blocks(std::size_t max_blocks) const;

  // Forgets all prefixes, kept ones too. Sequences keep their pages.
  void clear();

 private:
  explicit KvCache(std::shared_ptr<cache::CacheCore> core);
  Sequence open_under(std::span<const TokenId> prompt, std::span<const Digest> keys, const PolicySpec* policy,
                      bool wait);
  Sequence open_keyed(std::span<const TokenId> prompt, std::span<const Digest> keys, bool wait);

  std::shared_ptr<cache::CacheCore> core_;
};

}  // namespace cairn
