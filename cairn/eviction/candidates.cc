// SPDX-License-Identifier: Apache-2.0
#include "cairn/eviction/candidates.h"

#include <cmath>
#include <vector>

#include "cairn/base/check.h"

namespace cairn {

double Candidates::worth(const GroupId& id) const {
  return density_->worth(id.of_class, id.bin) * std::exp2(0.5 * id.price);
}

void Candidates::put(const GroupId& id, std::uint64_t last, const Digest& key) {
  const auto [group, fresh] = groups_.try_emplace(id);
  if (fresh) ranked_.emplace(worth(id), id);
  group->second.emplace(last, key);
  group_of_[last] = id;
}

void Candidates::insert(std::size_t of_class, int price, std::uint64_t last, const Digest& key, std::uint64_t now) {
  put({of_class, price, HitDensity::bin(now - last)}, last, key);
}

void Candidates::erase(std::uint64_t last) {
  const auto known = group_of_.find(last);
  CAIRN_CHECK(known != group_of_.end());
  const auto group = groups_.find(known->second);
  group->second.erase(last);
  if (group->second.empty()) {
    ranked_.erase({worth(group->first), group->first});
    groups_.erase(group);
  }
  group_of_.erase(known);
}

void Candidates::clear() {
  groups_.clear();
  ranked_.clear();
  group_of_.clear();
}

void Candidates::age(std::uint64_t now) {
  std::vector<std::pair<std::uint64_t, Digest>> grown;
  std::vector<GroupId> from;
  for (const auto& [id, group] : groups_) {
    for (const auto& [last, key] : group) {  // the oldest first
      if (HitDensity::bin(now - last) == id.bin) break;
      grown.emplace_back(last, key);
      from.push_back(id);
    }
  }
  for (std::size_t i = 0; i < grown.size(); ++i) {
    erase(grown[i].first);
    insert(from[i].of_class, from[i].price, grown[i].first, grown[i].second, now);
  }
}

std::optional<Digest> Candidates::first(const std::function<bool(const Digest&)>& may_go) const {
  for (const auto& [_, id] : ranked_) {
    for (const auto& [last, key] : groups_.at(id)) {
      if (may_go(key)) return key;
    }
  }
  return std::nullopt;
}

}  // namespace cairn
