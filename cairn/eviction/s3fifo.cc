// SPDX-License-Identifier: Apache-2.0
// S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023): newcomers wait in a small queue
// of a tenth of the bytes; what is used twice there moves to the main queue, what is not leaves a ghost behind, and a
// ghost that comes back enters the main queue at once. The main queue gives those in use another round.
#include <algorithm>
#include <list>
#include <unordered_map>

#include "cairn/eviction/eviction.h"

namespace cairn {
namespace {

constexpr std::uint64_t kSmallShare = 10;     // the share of the small queue: one part in ten
constexpr std::uint8_t kMaxUses = 3;          // counted per block
constexpr std::size_t kGhostsWhenEmpty = 16;  // so that an empty cache can learn

struct Block {
  Digest key;
  std::uint64_t bytes = 0;
  std::uint8_t uses = 0;
  bool main = false;
};

class S3Fifo final : public EvictionPolicy {
 public:
  explicit S3Fifo(std::uint64_t capacity_bytes) : capacity_bytes_(capacity_bytes) {}

  void inserted(const EvictionItem& item) override {
    if (blocks_.contains(item.key)) return used(item.key);
    // Not in removed(): what is taken back is looked for among the ghosts.
    while (ghosts_.size() > max_ghosts()) forget(Digest(ghosts_.back()));
    const bool returns = forget(item.key);
    std::list<Block>& queue = returns ? main_ : small_;
    queue.push_front({item.key, item.bytes, 0, returns});
    (returns ? main_bytes_ : small_bytes_) += item.bytes;
    blocks_.emplace(item.key, queue.begin());
  }

  void resized(const Digest& key, std::uint64_t bytes) override {
    const auto known = blocks_.find(key);
    if (known == blocks_.end()) return;
    Block& block = *known->second;
    std::uint64_t& queue = block.main ? main_bytes_ : small_bytes_;
    queue = queue - block.bytes + bytes;
    block.bytes = bytes;
  }

  void used(const Digest& key) override {
    const auto known = blocks_.find(key);
    if (known == blocks_.end()) return;
    Block& block = *known->second;
    if (block.uses < kMaxUses) ++block.uses;
  }

  void removed(const Digest& key) override {
    const auto known = blocks_.find(key);
    if (known == blocks_.end()) return;
    const Block block = *known->second;
    (block.main ? main_ : small_).erase(known->second);
    (block.main ? main_bytes_ : small_bytes_) -= block.bytes;
    blocks_.erase(known);
    if (!block.main) remember(key);
  }

  void kept(const EvictionItem& item) override {
    const bool main = !forget(item.key);  // what goes from there leaves no ghost
    std::list<Block>& queue = main ? main_ : small_;
    (main ? main_bytes_ : small_bytes_) += item.bytes;
    blocks_.emplace(item.key, queue.insert(queue.end(), {item.key, item.bytes, 0, main}));
  }

  std::optional<Digest> victim(const std::function<bool(const Digest&)>& may_go) override {
    const std::uint64_t capacity = std::max(capacity_bytes_, small_bytes_ + main_bytes_);
    const bool small_first = small_bytes_ * kSmallShare >= capacity || main_.empty();
    if (small_first) {
      if (auto key = from_small(may_go)) return key;
    }
    if (auto key = from_main(may_go)) return key;
    return small_first ? std::nullopt : from_small(may_go);
  }

  std::size_t ghosts() const override { return ghosts_.size(); }
  std::string_view name() const override { return "s3fifo"; }

 private:
  std::size_t max_ghosts() const { return std::max(kGhostsWhenEmpty, blocks_.size()); }

  std::optional<Digest> from_small(const std::function<bool(const Digest&)>& may_go) {
    for (auto place = small_.end(); place != small_.begin();) {
      const auto block = std::prev(place);
      if (block->uses > 1) {
        small_bytes_ -= block->bytes;
        main_bytes_ += block->bytes;
        block->uses = 0;
        block->main = true;
        main_.splice(main_.begin(), small_, block);  // `place` stays where it is
      } else if (may_go(block->key)) {
        return block->key;
      } else {
        place = block;
      }
    }
    return std::nullopt;
  }

  std::optional<Digest> from_main(const std::function<bool(const Digest&)>& may_go) {
    // A block that is given another round comes by again with one use less, so this ends.
    for (auto place = main_.end(); place != main_.begin();) {
      const auto block = std::prev(place);
      if (block->uses > 0) {
        --block->uses;
        if (block == main_.begin()) continue;
        main_.splice(main_.begin(), main_, block);
      } else if (may_go(block->key)) {
        return block->key;
      } else {
        place = block;
      }
    }
    return std::nullopt;
  }

  void remember(const Digest& key) {
    ghosts_.push_front(key);
    ghost_places_.emplace(key, ghosts_.begin());
  }

  bool forget(const Digest& key) {  // whether it was remembered
    const auto ghost = ghost_places_.find(key);
    if (ghost == ghost_places_.end()) return false;
    ghosts_.erase(ghost->second);
    ghost_places_.erase(ghost);
    return true;
  }

  const std::uint64_t capacity_bytes_;
  std::list<Block> small_, main_;  // the newest first
  std::uint64_t small_bytes_ = 0, main_bytes_ = 0;
  std::unordered_map<Digest, std::list<Block>::iterator, DigestHash> blocks_;
  std::list<Digest> ghosts_;  // the newest first
  std::unordered_map<Digest, std::list<Digest>::iterator, DigestHash> ghost_places_;
};

}  // namespace

std::unique_ptr<EvictionPolicy> make_s3fifo(std::uint64_t capacity_bytes) {
  return std::make_unique<S3Fifo>(capacity_bytes);
}

}  // namespace cairn
