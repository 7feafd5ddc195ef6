// SPDX-License-Identifier: Apache-2.0
// An in-memory index of sealed blocks by key: the longest known prefix of a token list, verified or missed.
//
// Blocks form trees under their roots (one root per recipe and tenant). A block is never dropped before the blocks that
// follow it: eviction takes leaves, in the order of an eviction policy. Only blocks that are exact at positions 0, 1,
// 2,
// ... may be inserted; anything computed over approximate keys or values must stay out.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "cairn/base/hash.h"
#include "cairn/block/block_key.h"
#include "cairn/block/page_pool.h"
#include "cairn/eviction/eviction.h"

namespace cairn {

// A full block whose pages will not be written any more.
struct SealedBlock {
  Digest parent;  // key of the block before it, or the root
  Digest key;     // block_key(parent, tokens)
  std::array<TokenId, kBlockTokens> tokens{};
  BlockPages pages;
};

// References to the pages of a prefix, block by block; they stay alive whatever is evicted.
struct PrefixMatch {
  struct Block {
    Digest key;
    BlockPages pages;
  };
  std::vector<Block> blocks;
};

enum class InsertOutcome : std::uint8_t {
  kInserted,
  kDuplicate,  // the key is known with equal tokens; the pages that came first stay
  kCollision,  // the key is known with other tokens or another parent: refused
  kOrphan,     // the parent is unknown: refused, since no match could reach the block
  kNoRoom,     // the block and the blocks before it exceed the budget: refused
};

struct InsertResult {
  InsertOutcome outcome = InsertOutcome::kInserted;
  BlockPages first_pages;  // with kDuplicate: what the index holds
};

struct PrefixIndexStats {
  std::uint64_t hits = 0;    // lookups that found at least one block
  std::uint64_t misses = 0;  // lookups of at least one whole block that found none
  std::uint64_t tokens_matched = 0;
  std::uint64_t inserted = 0;
  std::uint64_t duplicates = 0;
  std::uint64_t collisions = 0;  // keys that matched while tokens or parents did not
  std::uint64_t orphans = 0;
  std::uint64_t no_room = 0;
  std::uint64_t evictions = 0;
  std::uint64_t blocks = 0;  // now
  std::uint64_t bytes = 0;   // now, pages and the index's own
};

struct IndexedBlock {
  Digest key, parent;
  std::uint32_t depth = 0;  // blocks before it
  std::size_t bytes = 0;    // of its pages
  std::size_t users = 0;    // that hold its pages beside the index
  std::vector<TokenId> tokens;
};

// Thread-safe. The pool of the pages must outlive the index.
class PrefixIndex {
 public:
  // Which leaf goes next is the policy's to say: one of make_chain_policy(), "lru" without one.
  explicit PrefixIndex(std::size_t budget_bytes, std::unique_ptr<EvictionPolicy> policy = nullptr);
  PrefixIndex(const PrefixIndex&) = delete;
  PrefixIndex& operator=(const PrefixIndex&) = delete;

  // The longest chain of whole blocks under `root` whose keys and tokens equal those of `tokens`; a partial block at
  // the end is ignored. Marks the last block of the chain as just used. O(matched blocks).
  // `keys` are those of the whole blocks.
  PrefixMatch match(const Digest& root, std::span<const TokenId> tokens, std::span<const Digest> keys);
  PrefixMatch match(const Digest& root, std::span<const TokenId> tokens) {
    return match(root, tokens, block_keys(root, tokens));
  }

  // How many of the leading keys are held. Not a lookup: nothing is counted or marked.
  std::size_t known(std::span<const Digest> keys) const;

  // At most `max_blocks` blocks for people to look at, parents before children.
  std::vector<IndexedBlock> list(std::size_t max_blocks) const;

  // Evicts leaves as needed for the budget, in use or not, but none of the block's own ancestors.
  InsertResult insert(const Digest& root, SealedBlock block);

  // Frees at least `bytes` bytes of pages without another reference and returns how many were freed: fewer when the
  // rest is in use, or lies behind several blocks in use. A block in use is dropped only where it stands alone in front
  // of one that is not.
  std::size_t evict(std::size_t bytes);

  void clear();
  PrefixIndexStats stats() const;
  std::size_t budget() const { return budget_; }

 private:
  struct Node {
    Digest key;
    Digest parent_key;
    Node* parent = nullptr;  // null under the root
    std::array<TokenId, kBlockTokens> tokens{};
    BlockPages pages;
    std::uint32_t children = 0;
    std::uint32_t depth = 0;      // blocks before it
    std::size_t charge = 0;       // against the budget
    std::size_t chain_bytes = 0;  // charges from the root to here
  };

  bool holds(const Node& node, const Digest& parent_key, std::span<const TokenId> tokens) const;
  // The leaf that the policy lets go first among those that may; null when there is none.
  Node* next_leaf(const std::function<bool(const Node&)>& may_go);
  void drop(Node& node);
  std::size_t evict_unused(std::size_t bytes);
  std::size_t evict_behind_used(std::size_t bytes);

  const std::size_t budget_;
  mutable std::mutex mutex_;
  // Guarded by mutex_.
  std::unordered_map<Digest, Node, DigestHash> nodes_;
  std::unique_ptr<EvictionPolicy> policy_;  // knows of all nodes
  PrefixIndexStats stats_;
};

}  // namespace cairn
