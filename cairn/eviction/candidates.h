// SPDX-License-Identifier: Apache-2.0
// The blocks that may be dropped, grouped by class and age, the worthless groups first. All blocks of a group are worth
// the same, so nothing has to be reordered while time passes but what grows into the next age.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "cairn/base/hash.h"
#include "cairn/eviction/hit_density.h"

namespace cairn {

struct GroupId {
  std::size_t of_class = 0;
  int price = 0;  // half octaves of recompute cost per byte, against the usual
  std::size_t bin = 0;

  auto operator<=>(const GroupId&) const = default;
};

// Thread-compatible. The density must outlive it.
class Candidates {
 public:
  explicit Candidates(const HitDensity& density) : density_(&density) {}

  // `last` is the time of the last use: unique, names the block from now on, and orders it within its group.
  void insert(std::size_t of_class, int price, std::uint64_t last, const Digest& key, std::uint64_t now);
  void erase(std::uint64_t last);
  void clear();

  void age(std::uint64_t now);  // O(groups) and O(log n) per block that changes its group
  std::optional<Digest> first(const std::function<bool(const Digest&)>& may_go) const;

 private:
  using Group = std::map<std::uint64_t, Digest>;  // by last use

  double worth(const GroupId& id) const;
  void put(const GroupId& id, std::uint64_t last, const Digest& key);

  const HitDensity* density_;
  std::map<GroupId, Group> groups_;                      // none is empty
  std::set<std::pair<double, GroupId>> ranked_;          // all groups, by worth
  std::unordered_map<std::uint64_t, GroupId> group_of_;  // by last use
};

}  // namespace cairn
