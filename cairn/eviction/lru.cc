// SPDX-License-Identifier: Apache-2.0
// Least recently used, twice: of all blocks, and of those that nothing follows.
#include <algorithm>
#include <list>
#include <map>
#include <unordered_map>

#include "cairn/eviction/eviction.h"

namespace cairn {
namespace {

// The yardstick: it knows nothing of prefixes, so a parent may go before its children.
class Lru final : public EvictionPolicy {
 public:
  void inserted(const EvictionItem& item) override {
    if (const auto known = places_.find(item.key); known != places_.end()) return touch(known->second);
    order_.push_front(item.key);
    places_.emplace(item.key, order_.begin());
  }

  void used(const Digest& key) override {
    if (const auto known = places_.find(key); known != places_.end()) touch(known->second);
  }

  void removed(const Digest& key) override {
    const auto known = places_.find(key);
    if (known == places_.end()) return;
    order_.erase(known->second);
    places_.erase(known);
  }

  void kept(const EvictionItem& item) override { places_.emplace(item.key, order_.insert(order_.end(), item.key)); }

  std::optional<Digest> victim(const std::function<bool(const Digest&)>& may_go) override {
    for (auto key = order_.rbegin(); key != order_.rend(); ++key) {
      if (may_go(*key)) return *key;
    }
    return std::nullopt;
  }

  std::string_view name() const override { return "lru"; }

 private:
  void touch(std::list<Digest>::iterator place) { order_.splice(order_.begin(), order_, place); }

  std::list<Digest> order_;  // the most recent first
  std::unordered_map<Digest, std::list<Digest>::iterator, DigestHash> places_;
};

// Of blocks that nothing follows: what an index of chains asks. Only the last block of a chain need be told of a use.
// When the last child of a block goes, the block takes over the time of its use, since who used the child used the
// parent.
class LeafLru final : public EvictionPolicy {
 public:
  void inserted(const EvictionItem& item) override {
    if (blocks_.contains(item.key)) return used(item.key);
    add(item, ++clock_);
  }

  void used(const Digest& key) override {
    const auto known = blocks_.find(key);
    if (known == blocks_.end()) return;
    Block& block = known->second;
    if (block.children == 0) leaves_.erase(block.stamp);
    block.stamp = ++clock_;
    if (block.children == 0) leaves_.emplace(block.stamp, key);
  }

  void removed(const Digest& key) override {
    const auto known = blocks_.find(key);
    if (known == blocks_.end()) return;
    const Block block = known->second;
    if (block.children == 0) leaves_.erase(block.stamp);
    blocks_.erase(known);
    const auto parent = blocks_.find(block.parent);
    if (parent == blocks_.end() || --parent->second.children > 0) return;
    // Never older than what just went.
    parent->second.stamp = std::max(parent->second.stamp, block.stamp);
    leaves_.emplace(parent->second.stamp, block.parent);
  }

  void kept(const EvictionItem& item) override { add(item, --before_); }

  std::optional<Digest> victim(const std::function<bool(const Digest&)>& may_go) override {
    for (const auto& [stamp, key] : leaves_) {
      if (may_go(key)) return key;
    }
    return std::nullopt;
  }

  std::string_view name() const override { return "lru"; }

 private:
  struct Block {
    Digest parent;
    std::int64_t stamp = 0;      // of the last use of this block or of a descendant that is gone
    std::uint32_t children = 0;  // that are resident
  };

  void add(const EvictionItem& item, std::int64_t stamp) {
    if (const auto parent = blocks_.find(item.parent); parent != blocks_.end()) {
      if (parent->second.children++ == 0) leaves_.erase(parent->second.stamp);
    }
    blocks_.emplace(item.key, Block{.parent = item.parent, .stamp = stamp});
    leaves_.emplace(stamp, item.key);
  }

  std::unordered_map<Digest, Block, DigestHash> blocks_;
  // Stamps are unique among resident blocks: one is given to one block and inherited only by the parent of a block that
  // is gone.
  std::map<std::int64_t, Digest> leaves_;
  std::int64_t clock_ = 0, before_ = 0;
};

}  // namespace

std::unique_ptr<EvictionPolicy> make_lru(std::uint64_t) {
  return std::make_unique<Lru>();
}

std::unique_ptr<EvictionPolicy> make_leaf_lru() {
  return std::make_unique<LeafLru>();
}

}  // namespace cairn
