// SPDX-License-Identifier: Apache-2.0
// Least recently used. The yardstick: it knows nothing of prefixes, so a parent may go before its children.
#include <list>
#include <unordered_map>

#include "cairn/eviction/table.h"

namespace cairn {
namespace {

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

}  // namespace

std::unique_ptr<EvictionPolicy> make_lru(std::uint64_t) {
  return std::make_unique<Lru>();
}

}  // namespace cairn
