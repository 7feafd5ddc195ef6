// SPDX-License-Identifier: Apache-2.0
#include "cairn/reuse/prefix_index.h"

#include <algorithm>
#include <utility>

#include "cairn/base/check.h"

namespace cairn {
namespace {

// Bytes of the pages that dropping this reference would give back.
std::size_t unshared_bytes(const BlockPages& pages) {
  std::size_t bytes = 0;
  for (const PageRef& page : pages.all()) bytes += page && page.unique() ? page.bytes() : 0;
  return bytes;
}

}  // namespace

PrefixIndex::PrefixIndex(std::size_t budget_bytes, std::unique_ptr<EvictionPolicy> policy, IndexWindows windows,
                         std::function<void(const Digest&)> on_drop)
    : budget_(budget_bytes),
      windows_(std::move(windows)),
      on_drop_(std::move(on_drop)),
      policy_(policy != nullptr ? std::move(policy) : *make_chain_policy("lru", budget_bytes)) {}

bool PrefixIndex::holds(const Node& node, const Digest& parent_key, std::span<const TokenId> tokens) const {
  return node.parent_key == parent_key && std::ranges::equal(node.tokens, tokens);
}

PrefixMatch PrefixIndex::match(const Digest& root, std::span<const TokenId> tokens, std::span<const Digest> keys) {
  PrefixMatch match;
  if (keys.empty()) return match;

  const std::lock_guard lock(mutex_);
  std::vector<const Node*> chain;
  for (std::size_t b = 0; b < keys.size(); ++b) {
    const auto found = nodes_.find(keys[b]);
    if (found == nodes_.end()) break;
    Node& node = found->second;
    if (!holds(node, b == 0 ? root : keys[b - 1], tokens.subspan(b * kBlockTokens, kBlockTokens))) {
      ++stats_.collisions;
      break;
    }
    chain.push_back(&node);
    policy_->used(node.key);
    if (node.whole && node.passed) spare_.splice(spare_.end(), spare_, node.place);
  }
  match.known = chain.size();
  const std::size_t end = usable(chain);
  if (end < chain.size()) ++stats_.shortened;
  for (std::size_t b = 0; b < end; ++b) {
    PrefixMatch::Block& block = match.blocks.emplace_back(chain[b]->key, chain[b]->pages);
    if (b + windows_.blocks < end) without_windows(block.pages);  // which the next token does not see
  }
  if (match.blocks.empty()) {
    ++stats_.misses;
    return match;
  }
  ++stats_.hits;
  stats_.tokens_matched += match.blocks.size() * kBlockTokens;
  return match;
}

std::size_t PrefixIndex::known(std::span<const Digest> keys) const {
  const std::lock_guard lock(mutex_);
  std::vector<const Node*> chain;
  for (const Digest& key : keys) {
    const auto found = nodes_.find(key);
    if (found == nodes_.end()) break;
    chain.push_back(&found->second);
  }
  return usable(chain);
}

bool PrefixIndex::contains(const Digest& key) const {
  const std::lock_guard lock(mutex_);
  return nodes_.contains(key);
}

std::vector<IndexedBlock> PrefixIndex::list(std::size_t max_blocks) const {
  const std::lock_guard lock(mutex_);
  std::vector<IndexedBlock> blocks;
  for (const auto& [key, node] : nodes_) {
    if (blocks.size() >= max_blocks) break;
    IndexedBlock block{
        .key = key, .parent = node.parent_key, .depth = node.depth, .tokens = {node.tokens.begin(), node.tokens.end()}};
    for (const PageRef& page : node.pages.all()) {
      if (!page) continue;
      block.bytes += page.bytes();
      // Each page is held by the index and by each sequence, but for those behind a sequence's window.
      block.users = std::max<std::size_t>(block.users, page.use_count() - 1);
    }
    blocks.push_back(std::move(block));
  }
  std::ranges::stable_sort(blocks, {}, &IndexedBlock::depth);
  return blocks;
}

InsertResult PrefixIndex::insert(const Digest& root, SealedBlock block) {
  const std::lock_guard lock(mutex_);
  if (const auto found = nodes_.find(block.key); found != nodes_.end()) {
    Node& node = found->second;
    if (!holds(node, block.parent, block.tokens)) {
      ++stats_.collisions;
      return {InsertOutcome::kCollision, {}};
    }
    policy_->used(block.key);
    ++stats_.duplicates;
    if (!node.whole && has_windows(block.pages)) restore_windows(node, block.pages);
    return {InsertOutcome::kDuplicate, node.pages};
  }

  Node* parent = nullptr;
  if (block.parent != root) {
    const auto found = nodes_.find(block.parent);
    if (found == nodes_.end()) {
      ++stats_.orphans;
      return {InsertOutcome::kOrphan, {}};
    }
    parent = &found->second;
  }

  // A hash map's node costs about three words more than its contents.
  std::size_t charge = sizeof(Node) + sizeof(Digest) + 3 * sizeof(void*) + block.pages.all().size() * sizeof(PageRef);
  for (const PageRef& page : block.pages.all()) charge += page ? page.bytes() : 0;
  const std::size_t window_bytes = windowed_bytes(block.pages, /*unshared=*/false);
  const std::size_t chain_bytes = charge - window_bytes + (parent != nullptr ? parent->chain_bytes : 0);
  const std::uint32_t depth = parent != nullptr ? parent->depth + 1 : 0;
  std::size_t needed = chain_bytes + window_bytes;
  const Node* before = parent;
  for (std::size_t back = 1; back < windows_.blocks && before != nullptr; ++back, before = before->parent) {
    needed += before->window_bytes;
  }
  if (needed > budget_) {
    ++stats_.no_room;
    return {InsertOutcome::kNoRoom, {}};
  }

  // With its parent no longer a leaf, all leaves that eviction can reach lie outside the block's chain; the chain fits,
  // with the windowed pages that its end needs.
  if (parent != nullptr && ++parent->children == 2) keep_windows_before(*parent);
  while (stats_.bytes + charge > budget_) {
    if (free_one()) continue;
    Node* ancestor = parent;
    for (std::size_t back = 1; back < windows_.blocks && ancestor != nullptr; ++back) ancestor = ancestor->parent;
    while (ancestor != nullptr && (!ancestor->whole || ancestor->window_bytes == 0)) ancestor = ancestor->parent;
    CAIRN_CHECK(ancestor != nullptr);
    drop_windows(*ancestor);
  }

  Node& node = nodes_[block.key];
  node.key = block.key;
  node.parent_key = block.parent;
  node.parent = parent;
  node.tokens = block.tokens;
  node.whole = has_windows(block.pages);
  node.pages = std::move(block.pages);
  node.depth = depth;
  node.charge = charge;
  node.window_bytes = window_bytes;
  node.chain_bytes = chain_bytes;
  policy_->inserted({.key = node.key, .parent = node.parent_key, .bytes = charge, .depth = node.depth});
  stats_.bytes += charge;
  ++stats_.inserted;
  pass_windows(node);
  return {};
}

PrefixIndex::Node* PrefixIndex::next_leaf(const std::function<bool(const Node&)>& may_go) {
  const std::optional<Digest> victim = policy_->victim([&](const Digest& key) {
    const Node& node = nodes_.at(key);
    return node.children == 0 && may_go(node);
  });
  return victim ? &nodes_.at(*victim) : nullptr;
}

// Requires: a leaf.
void PrefixIndex::drop(Node& node) {
  set_passed(node, false);
  stats_.bytes -= node.charge;
  ++stats_.evictions;
  policy_->removed(node.key);
  if (node.parent != nullptr && --node.parent->children == 0) keep_windows_before(*node.parent);
  if (on_drop_) on_drop_(node.key);
  nodes_.erase(node.key);
}

std::size_t PrefixIndex::evict(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  std::size_t freed = evict_windows(bytes);
  if (freed < bytes) freed += evict_unused(bytes - freed);
  if (freed < bytes) freed += evict_kept_windows(bytes - freed);
  if (freed < bytes) freed += evict_behind_used(bytes - freed);
  return freed;
}

// Leaves in use are stepped over: there is at most one for each sequence alive, so this does not grow with the index.
std::size_t PrefixIndex::evict_unused(std::size_t bytes) {
  std::size_t freed = 0;
  while (freed < bytes) {
    Node* const leaf = next_leaf([](const Node& node) { return unshared_bytes(node.pages) > 0; });
    if (leaf == nullptr) break;
    freed += unshared_bytes(leaf->pages);
    drop(*leaf);
  }
  return freed;
}

// A block in use may stand on blocks that are not: its sequence computed the earlier ones itself, they were evicted,
// and another sequence, by now gone, put its own there.
std::size_t PrefixIndex::evict_behind_used(std::size_t bytes) {
  // The first block above a leaf, or the leaf, that is not in use; null where a fork comes first.
  const auto unused_of = [](const Node& leaf) -> const Node* {
    const Node* unused = &leaf;
    while (unused != nullptr && unused->children <= 1 && unshared_bytes(unused->pages) == 0) unused = unused->parent;
    return unused == nullptr || unused->children > 1 ? nullptr : unused;
  };
  std::size_t freed = 0;
  while (freed < bytes) {
    Node* const leaf = next_leaf([&](const Node& node) { return unused_of(node) != nullptr; });
    if (leaf == nullptr) break;
    const Node* const unused = unused_of(*leaf);
    for (Node *node = leaf, *next = nullptr;; node = next) {
      next = node->parent;
      const bool last = node == unused;
      freed += unshared_bytes(node->pages);
      drop(*node);
      if (last) break;
    }
  }
  return freed;
}

void PrefixIndex::clear() {
  const std::lock_guard lock(mutex_);
  stats_.bytes = 0;
  for (const auto& [key, node] : nodes_) {
    policy_->removed(key);
    if (on_drop_) on_drop_(key);
  }
  spare_.clear();
  nodes_.clear();
}

PrefixIndexStats PrefixIndex::stats() const {
  const std::lock_guard lock(mutex_);
  PrefixIndexStats stats = stats_;
  stats.blocks = nodes_.size();
  return stats;
}

}  // namespace cairn
