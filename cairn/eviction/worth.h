// SPDX-License-Identifier: Apache-2.0
// What a block is worth to a policy that learns: its class, the hits that blocks of the class still promise, and the
// order of candidates that follows.
#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cairn/base/hash.h"

namespace cairn {

// Blocks that were new one after the other: what one request added to what was known. Long additions are documents that
// seldom return; short ones behind something that was used again are turns of a conversation.
struct AddedRun {
  std::uint32_t blocks = 0;
  bool continues = false;  // behind a block that few others follow, so behind a conversation, not a system prompt
};

struct BlockHistory {
  std::uint32_t uses = 0;      // the insertion among them
  std::uint32_t children = 0;  // different blocks seen behind it
  std::shared_ptr<AddedRun> run;
};

inline constexpr std::uint32_t kHubChildren = 8;  // followed by more: a shared prompt
inline constexpr std::size_t kBlockClasses = 4 * 2 * 2 * 4;

// Puts a new block behind `parent`, or alone when that is null.
inline void join_run(BlockHistory& block, BlockHistory* parent) {
  if (parent != nullptr && parent->uses == 1 && parent->children == 0) {
    block.run = parent->run;
  } else {
    block.run = std::make_shared<AddedRun>();
    block.run->continues = parent != nullptr && parent->children <= kHubChildren;
  }
  ++block.run->blocks;
  if (parent != nullptr) ++parent->children;
}

// Requires: join_run() was called. Below kBlockClasses.
inline std::size_t block_class(const BlockHistory& block) {
  const std::uint32_t length = block.run->blocks;
  const std::size_t length_class = length <= 2 ? 0 : length <= 8 ? 1 : length <= 32 ? 2 : 3;
  const std::size_t uses_class = std::clamp(block.uses, 1u, 4u) - 1;
  const std::size_t last = block.children == 0 ? 1 : 0;  // the end of a prompt is hardly ever continued as it is
  return ((uses_class * 2 + last) * 2 + (block.run->continues ? 1 : 0)) * 4 + length_class;
}

// How many hits a block still promises per unit of time that it stays, learned from what happened to blocks of its
// class.
//
// For each class and age the rate of reuse is hits over time at risk. The worth of a block is its Gittins index: the
// best ratio, over all times to give up, of the chance to be hit by then and the time it will have been kept. That is
// what a cache under pressure should order by, and it is not monotone in age: a block that waits for its user to think
// is worth more after a while than at once. LHD (Beckmann et al., NSDI 2018) orders by a like ratio with one horizon.
//
// Time has any unit. Thread-compatible.
class HitDensity {
 public:
  static constexpr std::size_t kBins = 36;  // of age: half octaves from 16 on, the last one open

  explicit HitDensity(std::size_t classes);

  static std::size_t bin(std::uint64_t age);
  static std::uint64_t bin_begin(std::size_t bin);  // the least age in it

  void hit(std::size_t of_class, std::uint64_t age) { cell(of_class, bin(age)).hits += 1; }
  void kept(std::size_t of_class, std::uint64_t age, double time) { cell(of_class, bin(age)).time += time; }

  // Makes worth() follow what was told since, and weighs the older past less. O(classes * kBins^2).
  void learn(double elapsed);
  double worth(std::size_t of_class, std::size_t bin) const { return worth_[of_class * kBins + bin]; }

 private:
  struct Cell {
    double hits = 0, time = 0;
  };
  using Rates = std::array<double, kBins>;

  Cell& cell(std::size_t of_class, std::size_t bin) { return cells_[of_class * kBins + bin]; }
  Rates common_rates() const;
  Rates class_rates(std::size_t of_class, const Rates& common) const;

  std::size_t classes_;
  std::vector<Cell> cells_;
  std::vector<double> worth_;
};

struct GroupId {
  std::size_t of_class = 0;
  int price = 0;  // half octaves of recompute cost per byte, against the usual
  std::size_t bin = 0;

  auto operator<=>(const GroupId&) const = default;
};

// The blocks that may be dropped, grouped by class and age, the worthless groups first. All blocks of a group are worth
// the same, so nothing has to be reordered while time passes but what grows into the next age.
//
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
