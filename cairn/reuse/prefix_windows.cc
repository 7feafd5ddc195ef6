// SPDX-License-Identifier: Apache-2.0
// Windowed pages in the index: which of them a lookup needs, and which go first.
#include <algorithm>

#include "cairn/reuse/prefix_index.h"

namespace cairn {

std::size_t PrefixIndex::windowed_bytes(const BlockPages& pages, bool unshared) const {
  std::size_t bytes = 0;
  for (std::size_t l = 0; l < pages.layers(); ++l) {
    if (!windowed(l)) continue;
    for (const PageSlot slot : kPageSlots) {
      const PageRef& page = pages.page(l, slot);
      if (page && (!unshared || page.unique())) bytes += page.bytes();
    }
  }
  return bytes;
}

bool PrefixIndex::has_windows(const BlockPages& pages) const {
  for (std::size_t l = 0; l < pages.layers(); ++l) {
    if (windowed(l) && !pages.page(l, PageSlot::kKeys)) return false;
  }
  return true;
}

void PrefixIndex::without_windows(BlockPages& pages) const {
  for (std::size_t l = 0; l < pages.layers(); ++l) {
    if (!windowed(l)) continue;
    for (const PageSlot slot : kPageSlots) pages.page(l, slot) = PageRef();
  }
}

std::size_t PrefixIndex::usable(std::span<const Node* const> chain) const {
  std::size_t whole = 0, end = 0;  // whole blocks up to here
  for (std::size_t b = 0; b < chain.size(); ++b) {
    whole = chain[b]->whole ? whole + 1 : 0;
    if (whole >= std::min(b + 1, windows_.blocks)) end = b + 1;
  }
  return end;
}

void PrefixIndex::set_passed(Node& node, bool passed) {
  if (node.passed == passed) return;
  node.passed = passed;
  if (!node.whole) return;
  if (passed) {
    node.place = spare_.insert(spare_.end(), &node);
  } else {
    spare_.erase(node.place);
  }
}

void PrefixIndex::pass_windows(const Node& node) {
  if (windows_.layers.empty()) return;
  Node* ancestor = node.parent;
  bool forks = ancestor != nullptr && ancestor->children > 1;
  for (std::size_t back = 1; back < windows_.blocks && ancestor != nullptr; ++back) {
    ancestor = ancestor->parent;
    forks = forks || (ancestor != nullptr && ancestor->children > 1);
  }
  if (ancestor != nullptr && !forks) set_passed(*ancestor, true);
}

void PrefixIndex::keep_windows_before(Node& last) {
  Node* node = &last;
  for (std::size_t back = 0; back < windows_.blocks && node != nullptr; ++back, node = node->parent) {
    set_passed(*node, false);
  }
}

void PrefixIndex::drop_windows(Node& node) {
  if (node.whole && node.passed) spare_.erase(node.place);
  node.whole = false;
  without_windows(node.pages);
  stats_.bytes -= node.window_bytes;
  node.charge -= node.window_bytes;
  node.window_bytes = 0;
  policy_->resized(node.key, node.charge);
  ++stats_.windows_dropped;
}

void PrefixIndex::restore_windows(Node& node, const BlockPages& pages) {
  const std::size_t bytes = windowed_bytes(pages, /*unshared=*/false);
  set_passed(node, false);  // a prompt ends here or soon
  ++node.children;          // so that neither it nor the blocks before it are leaves
  while (stats_.bytes + bytes > budget_ && free_one()) {
  }
  --node.children;
  if (stats_.bytes + bytes > budget_) return;
  for (std::size_t l = 0; l < pages.layers(); ++l) {
    if (!windowed(l)) continue;
    for (const PageSlot slot : kPageSlots) node.pages.page(l, slot) = pages.page(l, slot);
  }
  node.whole = true;
  stats_.bytes += bytes;
  node.charge += bytes;
  node.window_bytes = bytes;
  policy_->resized(node.key, node.charge);
  pass_windows(node);
}

bool PrefixIndex::free_one() {
  if (!spare_.empty()) {
    const auto unused = [this](const Node* node) { return windowed_bytes(node->pages, /*unshared=*/true) > 0; };
    const auto first = std::ranges::find_if(spare_, unused);
    drop_windows(first != spare_.end() ? **first : *spare_.front());
    return true;
  }
  Node* const leaf = next_leaf([](const Node&) { return true; });
  if (leaf != nullptr) drop(*leaf);
  return leaf != nullptr;
}

std::size_t PrefixIndex::evict_windows(std::size_t bytes) {
  std::size_t freed = 0;
  for (auto next = spare_.begin(); next != spare_.end() && freed < bytes;) {
    Node& node = **next++;
    const std::size_t unshared = windowed_bytes(node.pages, /*unshared=*/true);
    if (unshared == 0) continue;
    freed += unshared;
    drop_windows(node);
  }
  return freed;
}

std::size_t PrefixIndex::evict_kept_windows(std::size_t bytes) {
  if (windows_.layers.empty()) return 0;
  std::size_t freed = 0;
  for (auto& [key, node] : nodes_) {
    if (freed >= bytes) break;
    const std::size_t unshared = node.whole ? windowed_bytes(node.pages, /*unshared=*/true) : 0;
    if (unshared == 0) continue;
    freed += unshared;
    drop_windows(node);
  }
  return freed;
}

}  // namespace cairn
