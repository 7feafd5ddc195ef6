// SPDX-License-Identifier: Apache-2.0
#include "cairn/reuse/prefix_index.h"

#include <algorithm>
#include <utility>

namespace cairn {
namespace {

// Bytes of the pages that dropping this reference would give back.
std::size_t unshared_bytes(const BlockPages& pages) {
  std::size_t bytes = 0;
  for (const PageRef& page : pages.all()) bytes += page.unique() ? page.bytes() : 0;
  return bytes;
}

}  // namespace

bool PrefixIndex::holds(const Node& node, const Digest& parent_key, std::span<const TokenId> tokens) const {
  return node.parent_key == parent_key && std::ranges::equal(node.tokens, tokens);
}

PrefixMatch PrefixIndex::match(const Digest& root, std::span<const TokenId> tokens, std::span<const Digest> keys) {
  PrefixMatch match;
  if (keys.empty()) return match;

  const std::lock_guard lock(mutex_);
  Node* last = nullptr;
  for (std::size_t b = 0; b < keys.size(); ++b) {
    const auto found = nodes_.find(keys[b]);
    if (found == nodes_.end()) break;
    Node& node = found->second;
    if (!holds(node, b == 0 ? root : keys[b - 1], tokens.subspan(b * kBlockTokens, kBlockTokens))) {
      ++stats_.collisions;
      break;
    }
    match.blocks.push_back({node.key, node.pages});
    last = &node;
  }
  if (last == nullptr) {
    ++stats_.misses;
    return match;
  }
  touch(*last);
  ++stats_.hits;
  stats_.tokens_matched += match.blocks.size() * kBlockTokens;
  return match;
}

std::size_t PrefixIndex::known(std::span<const Digest> keys) const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(
      std::ranges::find_if_not(keys, [this](const Digest& key) { return nodes_.contains(key); }) - keys.begin());
}

std::vector<IndexedBlock> PrefixIndex::list(std::size_t most) const {
  const std::lock_guard lock(mutex_);
  std::vector<IndexedBlock> blocks;
  for (const auto& [key, node] : nodes_) {
    if (blocks.size() >= most) break;
    IndexedBlock block{.key = key, .parent = node.parent_key, .tokens = {node.tokens.begin(), node.tokens.end()}};
    for (const Node* above = node.parent; above != nullptr; above = above->parent) ++block.depth;
    for (const PageRef& page : node.pages.all()) block.bytes += page.bytes();
    // Each page is held by the index and by each sequence.
    if (!node.pages.empty()) block.users = node.pages.all().front().use_count() - 1;
    blocks.push_back(std::move(block));
  }
  std::ranges::stable_sort(blocks, {}, &IndexedBlock::depth);
  return blocks;
}

InsertResult PrefixIndex::insert(const Digest& root, SealedBlock block) {
  const std::lock_guard lock(mutex_);
  if (const auto found = nodes_.find(block.key); found != nodes_.end()) {
    if (!holds(found->second, block.parent, block.tokens)) {
      ++stats_.collisions;
      return {InsertOutcome::kCollision, {}};
    }
    touch(found->second);
    ++stats_.duplicates;
    return {InsertOutcome::kDuplicate, found->second.pages};
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
  for (const PageRef& page : block.pages.all()) charge += page.bytes();
  const std::size_t chain_bytes = charge + (parent != nullptr ? parent->chain_bytes : 0);
  if (chain_bytes > budget_) {
    ++stats_.no_room;
    return {InsertOutcome::kNoRoom, {}};
  }

  // With its parent no longer a leaf, all that eviction can reach lies outside the block's chain, and the chain fits.
  if (parent != nullptr && parent->children++ == 0) leaves_.erase(parent->stamp);
  while (stats_.bytes + charge > budget_) drop(*leaves_.begin()->second);

  Node& node = nodes_[block.key];
  node.key = block.key;
  node.parent_key = block.parent;
  node.parent = parent;
  node.tokens = block.tokens;
  node.pages = std::move(block.pages);
  node.stamp = ++clock_;
  node.charge = charge;
  node.chain_bytes = chain_bytes;
  leaves_.emplace(node.stamp, &node);
  stats_.bytes += charge;
  ++stats_.inserted;
  return {};
}

void PrefixIndex::touch(Node& node) {
  if (node.children == 0) leaves_.erase(node.stamp);
  node.stamp = ++clock_;
  if (node.children == 0) leaves_.emplace(node.stamp, &node);
}

// Requires: a leaf.
void PrefixIndex::drop(Node& node) {
  leaves_.erase(node.stamp);
  stats_.bytes -= node.charge;
  ++stats_.evictions;
  if (Node* const parent = node.parent; parent != nullptr && --parent->children == 0) {
    // Who used the child used the parent; never older than the leaf that just went, so one pass in order of stamps sees
    // it.
    parent->stamp = std::max(parent->stamp, node.stamp);
    leaves_.emplace(parent->stamp, parent);
  }
  nodes_.erase(node.key);
}

std::size_t PrefixIndex::evict(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  std::size_t freed = evict_unused(bytes);
  if (freed < bytes) freed += evict_behind_used(bytes - freed);
  return freed;
}

// Leaves in use are stepped over: there is at most one for each sequence alive, so this does not grow with the index.
std::size_t PrefixIndex::evict_unused(std::size_t bytes) {
  std::size_t freed = 0;
  auto leaf = leaves_.begin();
  while (freed < bytes && leaf != leaves_.end()) {
    const std::uint64_t stamp = leaf->first;
    const std::size_t gain = unshared_bytes(leaf->second->pages);
    if (gain > 0) {
      drop(*leaf->second);
      freed += gain;
    }
    leaf = gain > 0 ? leaves_.lower_bound(stamp) : std::next(leaf);
  }
  return freed;
}

// A block in use may stand on blocks that are not: its sequence computed the earlier ones itself, they were evicted,
// and another sequence, by now gone, put its own there.
std::size_t PrefixIndex::evict_behind_used(std::size_t bytes) {
  std::size_t freed = 0;
  auto leaf = leaves_.begin();
  while (freed < bytes && leaf != leaves_.end()) {
    Node* unused = leaf->second;
    while (unused != nullptr && unused->children <= 1 && unshared_bytes(unused->pages) == 0) unused = unused->parent;
    if (unused == nullptr || unused->children > 1) {
      leaf = std::next(leaf);
      continue;
    }
    for (Node *node = leaf->second, *next = nullptr;; node = next) {
      next = node->parent;
      const bool last = node == unused;
      freed += unshared_bytes(node->pages);
      drop(*node);
      if (last) break;
    }
    leaf = leaves_.begin();  // a fork may have become a chain
  }
  return freed;
}

void PrefixIndex::clear() {
  const std::lock_guard lock(mutex_);
  stats_.bytes = 0;
  leaves_.clear();
  nodes_.clear();
}

PrefixIndexStats PrefixIndex::stats() const {
  const std::lock_guard lock(mutex_);
  PrefixIndexStats stats = stats_;
  stats.blocks = nodes_.size();
  return stats;
}

}  // namespace cairn
