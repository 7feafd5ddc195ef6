// SPDX-License-Identifier: Apache-2.0
// An in-memory index of sealed blocks by key: the longest known prefix of a token list, verified or missed.
//
// Blocks form trees under their roots (one root per recipe and tenant). A block is never dropped before the blocks that
// follow it: eviction takes leaves, in the order of an eviction policy. Only blocks that are exact at positions 0, 1,
// 2, ... may be inserted; anything computed over approximate keys or values must stay out.
//
// Layers with a window: what comes after a block boundary sees their last few blocks alone. A lookup hits at every
// boundary where these blocks still have their windowed pages. Under pressure the windowed pages go first, least
// recently used first, of blocks that neither the end of a chain nor a fork needs; then the lookup ends at an earlier
// boundary, and says so.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
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
    BlockPages pages;  // without those that the next token does not see through its window
  };
  std::vector<Block> blocks;
  std::size_t known = 0;  // blocks with this prefix: more than `blocks` where windowed pages are gone
};

// Pages of layers with a window, by their number among a block's layers.
struct IndexWindows {
  std::vector<bool> layers;  // which have one; empty: none
  std::size_t blocks = 0;    // how many before a boundary a sequence keeps, in the layer that sees the most
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
  BlockPages first_pages;  // with kDuplicate: what the index holds, windowed pages maybe without
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
  std::uint64_t windows_dropped = 0;  // blocks that lost their windowed pages
  std::uint64_t shortened = 0;        // lookups that therefore found less than the index knows
  std::uint64_t blocks = 0;           // now
  std::uint64_t bytes = 0;            // now, pages and the index's own
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
  // Which leaf goes next is the policy's to say: one of make_chain_policy(), "lru" without one. `on_drop` is told of
  // each block that goes, while the index is locked: it must not call it.
  explicit PrefixIndex(std::size_t budget_bytes, std::unique_ptr<EvictionPolicy> policy = nullptr,
                       IndexWindows windows = {}, std::function<void(const Digest& key)> on_drop = {});
  PrefixIndex(const PrefixIndex&) = delete;
  PrefixIndex& operator=(const PrefixIndex&) = delete;

  // The longest chain of whole blocks under `root` whose keys and tokens equal those of `tokens`; a partial block at
  // the end is ignored. Marks the blocks that are known as just used. O(matched blocks).
  // `keys` are those of the whole blocks.
  PrefixMatch match(const Digest& root, std::span<const TokenId> tokens, std::span<const Digest> keys);
  PrefixMatch match(const Digest& root, std::span<const TokenId> tokens) {
    return match(root, tokens, block_keys(root, tokens));
  }

  // How many blocks a lookup of these keys would find. Nothing is counted or marked.
  std::size_t known(std::span<const Digest> keys) const;
  // Whether the block is held, with its windowed pages or without.
  bool contains(const Digest& key) const;

  // At most `max_blocks` blocks for people to look at, parents before children.
  std::vector<IndexedBlock> list(std::size_t max_blocks) const;

  // Evicts windowed pages and leaves as needed for the budget, in use or not, but no block among the new one's own
  // ancestors. A duplicate gives back the windowed pages that the block it equals has lost.
  InsertResult insert(const Digest& root, SealedBlock block);

  // Frees at least `bytes` bytes of pages without another reference, windowed ones first, and returns how many were
  // freed: fewer when the rest is in use, or lies behind several blocks in use. A block in use is dropped only where it
  // stands alone in front of one that is not.
  std::size_t evict(std::size_t bytes);

  void clear();
  PrefixIndexStats stats() const;
  std::size_t budget() const { return budget_; }

 private:
  struct Node;
  using Nodes = std::list<Node*>;
  struct Node {
    Digest key;
    Digest parent_key;
    Node* parent = nullptr;  // null under the root
    std::array<TokenId, kBlockTokens> tokens{};
    BlockPages pages;
    std::uint32_t children = 0;
    std::uint32_t depth = 0;       // blocks before it
    std::size_t charge = 0;        // against the budget
    std::size_t window_bytes = 0;  // of that, windowed pages
    std::size_t chain_bytes = 0;   // charges from the root to here, windowed pages aside
    bool whole = true;             // has its windowed pages
    bool passed = false;           // neither the end of a chain nor a fork needs its windowed pages
    Nodes::iterator place{};       // in spare_, when it is whole and passed
  };

  bool holds(const Node& node, const Digest& parent_key, std::span<const TokenId> tokens) const;
  bool windowed(std::size_t layer) const { return layer < windows_.layers.size() && windows_.layers[layer]; }
  std::size_t windowed_bytes(const BlockPages& pages, bool unshared) const;
  bool has_windows(const BlockPages& pages) const;
  void without_windows(BlockPages& pages) const;
  // Of the blocks of a chain, given in order: up to where the next token finds all it sees.
  std::size_t usable(std::span<const Node* const> chain) const;
  // The ancestor that the new end of a chain no longer needs may lose its windowed pages, unless a fork needs it.
  void pass_windows(const Node& node);
  // What follows this block, an end or a fork, sees them.
  void keep_windows_before(Node& last);
  void set_passed(Node& node, bool passed);
  void drop_windows(Node& node);
  void restore_windows(Node& node, const BlockPages& pages);
  // Drops windowed pages, or else a leaf; false when there is neither.
  bool free_one();
  // The leaf that the policy lets go first among those that may; null when there is none.
  Node* next_leaf(const std::function<bool(const Node&)>& may_go);
  void drop(Node& node);
  std::size_t evict_windows(std::size_t bytes);
  std::size_t evict_kept_windows(std::size_t bytes);  // that an end or a fork needs: before chains in use go
  std::size_t evict_unused(std::size_t bytes);
  std::size_t evict_behind_used(std::size_t bytes);

  const std::size_t budget_;
  const IndexWindows windows_;
  const std::function<void(const Digest&)> on_drop_;
  mutable std::mutex mutex_;
  // Guarded by mutex_.
  std::unordered_map<Digest, Node, DigestHash> nodes_;
  Nodes spare_;                             // whose windowed pages may go, the least recently used first
  std::unique_ptr<EvictionPolicy> policy_;  // knows of all nodes
  PrefixIndexStats stats_;
};

}  // namespace cairn
