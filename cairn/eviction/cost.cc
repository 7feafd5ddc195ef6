// SPDX-License-Identifier: Apache-2.0
// Keeps what promises most saved recomputation per byte and time. docs/eviction.md has the figures behind each choice.
//
// - Leaf before parent: only blocks without resident children are candidates, so what is resident is always a prefix.
// - The chance of reuse is learned per class of block (uses, end of a prompt or not, what the request added) and age,
//   see worth.h. A scan is a class that is never hit; nothing else keeps it out.
// - Ghosts keep the history of blocks that are gone, so that reuse is seen that the cache was too small for, and a
// block
//   that comes back is not taken for new.
// - Cost: a block deep in its prompt attends to more. Being worth more, it may outlive a first block of the same class;
//   but a parent outlives its children whatever it is worth.
#include <algorithm>
#include <cmath>
#include <list>
#include <unordered_map>
#include <utility>

#include "cairn/eviction/eviction.h"
#include "cairn/eviction/worth.h"

namespace cairn {
namespace {

constexpr std::size_t kGhostsPerBlock = 8, kMinGhosts = 1024;
constexpr std::uint64_t kAgeEvery = 64;     // calls; ages differ little in between
constexpr std::uint64_t kLearnEvery = 128;  // calls, or an eighth of what is known if that is more
// Depth at which a block costs twice what the first one does: attention over about 32,000 tokens costs what the weights
// of a 7B model do, and a block is 64 tokens.
constexpr double kDoubleCostDepth = 512;
constexpr int kMaxPrice = 4;  // half octaves

struct Entry {
  EvictionItem item;
  BlockHistory history;
  std::uint64_t last = 0;  // time of the last use
  bool resident = false, candidate = false;
  std::list<Digest>::iterator ghost;  // while not resident
};

class Cost final : public EvictionPolicy {
 public:
  Cost() : density_(kBlockClasses), candidates_(density_) {}

  void inserted(const EvictionItem& item) override {
    const auto [place, fresh] = entries_.try_emplace(item.key);
    Entry& entry = place->second;
    if (entry.resident) return used(item.key);
    tick();
    if (fresh) {
      const auto parent = entries_.find(item.parent);
      Entry* above = parent == entries_.end() || parent == place ? nullptr : &parent->second;
      join_run(entry.history, above == nullptr ? nullptr : &above->history);
    } else {
      density_.hit(block_class(entry.history), now_ - entry.last);
      ghosts_.erase(entry.ghost);
    }
    entry.item = item;
    entry.resident = true;
    ++entry.history.uses;
    entry.last = now_;
    ++resident_;
    usual_density_ += (cost(entry) - usual_density_) / static_cast<double>(std::min<std::uint64_t>(now_, 4096));
    if (const auto parent = entries_.find(item.parent); parent != entries_.end()) retire(parent->second);
    ++resident_children_[item.parent];
    enlist(entry);
  }

  void used(const Digest& key) override {
    const auto known = entries_.find(key);
    if (known == entries_.end() || !known->second.resident) return;
    Entry& entry = known->second;
    tick();
    retire(entry);
    density_.hit(block_class(entry.history), now_ - entry.last);
    ++entry.history.uses;
    entry.last = now_;
    enlist(entry);
  }

  void resized(const Digest& key, std::uint64_t bytes) override {
    const auto known = entries_.find(key);
    if (known == entries_.end() || !known->second.resident) return;
    retire(known->second);
    known->second.item.bytes = bytes;
    enlist(known->second);
  }

  void removed(const Digest& key) override {
    const auto known = entries_.find(key);
    if (known == entries_.end() || !known->second.resident) return;
    Entry& entry = known->second;
    retire(entry);
    entry.resident = false;
    --resident_;
    ghosts_.push_front(key);
    entry.ghost = ghosts_.begin();
    const auto children = resident_children_.find(entry.item.parent);
    if (--children->second == 0) {
      resident_children_.erase(children);
      if (const auto parent = entries_.find(entry.item.parent); parent != entries_.end()) enlist(parent->second);
    }
    while (ghosts_.size() > std::max(kMinGhosts, kGhostsPerBlock * resident_)) {
      entries_.erase(ghosts_.back());
      ghosts_.pop_back();
    }
  }

  void kept(const EvictionItem& item) override {
    const auto known = entries_.find(item.key);
    if (known == entries_.end()) return inserted(item);  // a ghost too many
    Entry& entry = known->second;
    ghosts_.erase(entry.ghost);
    entry.resident = true;
    ++resident_;
    if (const auto parent = entries_.find(item.parent); parent != entries_.end()) retire(parent->second);
    ++resident_children_[item.parent];
    enlist(entry);
  }

  std::optional<Digest> victim(const std::function<bool(const Digest&)>& may_go) override {
    return candidates_.first(may_go);
  }

  std::size_t ghosts() const override { return ghosts_.size(); }
  std::string_view name() const override { return "cost"; }

 private:
  static double cost(const Entry& entry) {  // of recomputation, per byte
    return (1 + entry.item.depth / kDoubleCostDepth) /
           static_cast<double>(std::max<std::uint64_t>(1, entry.item.bytes));
  }

  int price(const Entry& entry) const {
    const double octaves = std::log2(cost(entry) / usual_density_);
    return static_cast<int>(std::clamp(std::round(2 * octaves), -double{kMaxPrice}, double{kMaxPrice}));
  }

  void enlist(Entry& entry) {
    if (!entry.resident || entry.candidate || resident_children_.contains(entry.item.key)) return;
    entry.candidate = true;
    candidates_.insert(block_class(entry.history), price(entry), entry.last, entry.item.key, now_);
  }

  void retire(Entry& entry) {
    if (std::exchange(entry.candidate, false)) candidates_.erase(entry.last);
  }

  void tick() {
    ++now_;
    if (now_ - learned_ >= std::max<std::uint64_t>(kLearnEvery, entries_.size() / 8)) {
      learn();
    } else if (now_ % kAgeEvery == 0) {
      candidates_.age(now_);
    }
  }

  void learn() {
    const auto elapsed = static_cast<double>(now_ - learned_);
    learned_ = now_;
    candidates_.clear();
    for (auto& [key, entry] : entries_) {
      if (entry.history.uses > 0) density_.kept(block_class(entry.history), now_ - entry.last, elapsed);
    }
    density_.learn(elapsed);
    for (auto& [key, entry] : entries_) {
      entry.candidate = false;
      enlist(entry);
    }
  }

  std::uint64_t now_ = 0, learned_ = 0;  // in calls
  HitDensity density_;
  Candidates candidates_;
  std::unordered_map<Digest, Entry, DigestHash> entries_;  // resident blocks and ghosts
  std::unordered_map<Digest, std::uint32_t, DigestHash> resident_children_;
  std::list<Digest> ghosts_;  // the newest first
  std::size_t resident_ = 0;
  double usual_density_ = 0;  // running mean of cost()
};

}  // namespace

std::unique_ptr<EvictionPolicy> make_cost(std::uint64_t) {
  return std::make_unique<Cost>();
}

}  // namespace cairn
