// SPDX-License-Identifier: Apache-2.0
// Random owners of every policy: what each of them must keep, and LRU and S3-FIFO against naive models.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "cairn/eviction/eviction.h"

namespace cairn {
namespace {

// A block is its path in a tree of prompts.
using Path = std::vector<int>;

Digest key_of(const Path& path) {
  Hasher hasher("test.path");
  for (const int step : path) hasher.u32(static_cast<std::uint32_t>(step));
  return hasher.finish();
}

Path parent_of(Path path) {
  path.pop_back();
  return path;
}

EvictionItem item_of(const Path& path, std::uint64_t bytes = 1) {
  return {key_of(path), key_of(parent_of(path)), bytes, static_cast<std::uint32_t>(path.size() - 1), 0};
}

Path any_path() {
  const auto depth = *rc::gen::resize(100, rc::gen::inRange<std::size_t>(1, 5));
  return *rc::gen::resize(100, rc::gen::container<Path>(depth, rc::gen::inRange(0, 4)));
}

struct Owner {
  std::map<Digest, Path> resident;
  std::set<Digest> pinned;

  bool has_children(const Path& path) const {
    return std::ranges::any_of(resident, [&](const auto& block) { return parent_of(block.second) == path; });
  }
};

// What holds for every policy: it names what is resident and may go, and something whenever it can. Prefix-aware
// policies see only owners that insert behind resident parents.
void keeps_its_word(const std::string& name, bool prefix_aware) {
  const auto policy = *make_eviction_policy(name, *rc::gen::inRange<std::uint64_t>(0, 40));
  Owner owner;
  const int steps = *rc::gen::resize(400, rc::gen::inRange(0, 400));
  std::size_t max_resident = 0;
  for (int step = 0; step < steps; ++step) {
    const Path path = any_path();
    const Digest key = key_of(path);
    switch (*rc::gen::weightedElement<int>({{8, 0}, {3, 1}, {4, 2}, {1, 3}, {1, 4}})) {
      case 0:
        if (prefix_aware && path.size() > 1 && !owner.resident.contains(key_of(parent_of(path)))) break;
        policy->inserted(item_of(path, 1 + static_cast<std::uint64_t>(path.back())));
        owner.resident[key] = path;
        break;
      case 1: policy->used(key); break;  // unknown and removed keys too
      case 2: {
        std::set<Digest> asked;
        const auto victim = policy->victim([&](const Digest& candidate) {
          RC_ASSERT(owner.resident.contains(candidate));
          RC_ASSERT(asked.insert(candidate).second);
          return !owner.pinned.contains(candidate);
        });
        const bool any = std::ranges::any_of(owner.resident, [&](const auto& block) {
          return !owner.pinned.contains(block.first) && !(prefix_aware && owner.has_children(block.second));
        });
        RC_ASSERT(victim.has_value() == any);
        if (!victim) break;
        RC_ASSERT(owner.resident.contains(*victim) && !owner.pinned.contains(*victim));
        if (prefix_aware) RC_ASSERT(!owner.has_children(owner.resident.at(*victim)));
        owner.resident.erase(*victim);
        policy->removed(*victim);
        break;
      }
      case 3:
        if (owner.pinned.erase(key) == 0) owner.pinned.insert(key);
        break;
      default:  // erased by the owner; parents too
        policy->removed(key);
        owner.resident.erase(key);
    }
    max_resident = std::max(max_resident, owner.resident.size());
    RC_ASSERT(policy->ghosts() <= 1024 + 8 * max_resident);
  }
}

TEST(EvictionModel, LruKeepsItsWord) {
  EXPECT_TRUE(rc::check([] { keeps_its_word("lru", false); }));
}
TEST(EvictionModel, S3FifoKeepsItsWord) {
  EXPECT_TRUE(rc::check([] { keeps_its_word("s3fifo", false); }));
}
TEST(EvictionModel, CostKeepsItsWordAndTakesLeavesFirst) {
  EXPECT_TRUE(rc::check([] { keeps_its_word("cost", true); }));
}

// The next victims of all blocks, leaves first for those that look at prefixes.
std::vector<Digest> take_victims(EvictionPolicy& policy, std::size_t most) {
  std::vector<Digest> taken;
  while (taken.size() < most) {
    const auto victim = policy.victim([](const Digest&) { return true; });
    if (!victim) break;
    policy.removed(*victim);
    taken.push_back(*victim);
  }
  return taken;
}

void takes_victims_back(const std::string& name) {
  const auto policy = *make_eviction_policy(name, *rc::gen::inRange<std::uint64_t>(0, 40));
  std::map<Digest, Path> resident;
  const int steps = *rc::gen::resize(300, rc::gen::inRange(0, 300));
  for (int step = 0; step < steps; ++step) {
    const Path path = any_path();
    if (resident.contains(key_of(path))) continue;  // S3-FIFO moves what was used when it looks for a victim
    if (path.size() > 1 && !resident.contains(key_of(parent_of(path)))) continue;
    if (resident.size() > 30) {
      for (const Digest& victim : take_victims(*policy, 1)) resident.erase(victim);
    }
    policy->inserted(item_of(path));
    resident[key_of(path)] = path;
  }
  const std::vector<Digest> first = take_victims(*policy, *rc::gen::inRange<std::size_t>(0, 20));
  for (std::size_t i = first.size(); i-- > 0;) policy->kept(item_of(resident.at(first[i])));
  std::vector<Digest> again = take_victims(*policy, resident.size() + 1);
  // Ages that `cost` looks at are as old as the last look: what comes back may stand a little elsewhere.
  if (name != "cost") RC_ASSERT(std::ranges::equal(first, std::span(again).first(first.size())));
  for (const Digest& key : again) {
    const auto gone = resident.extract(key);
    RC_ASSERT(!gone.empty());
    if (name != "cost") continue;
    const Owner left{resident, {}};
    RC_ASSERT(!left.has_children(gone.mapped()));
  }
  RC_ASSERT(resident.empty());
}

TEST(EvictionModel, WhatIsKeptAfterAllGoesNext) {
  for (const std::string& name : eviction_policy_names())
    EXPECT_TRUE(rc::check(name, [&] { takes_victims_back(name); }));
}

// A cache of `capacity` blocks over a random trace; returns the keys in the order in which they went.
std::vector<int> evictions(EvictionPolicy& policy, std::size_t capacity, const std::vector<int>& trace) {
  std::map<Digest, int> resident;
  std::vector<int> gone;
  for (const int block : trace) {
    const EvictionItem item = item_of({block});
    if (resident.contains(item.key)) {
      policy.used(item.key);
      continue;
    }
    if (resident.size() == capacity) {
      const auto victim = policy.victim([](const Digest&) { return true; });
      gone.push_back(resident.at(*victim));
      resident.erase(*victim);
      policy.removed(*victim);
    }
    policy.inserted(item);
    resident[item.key] = block;
  }
  return gone;
}

std::vector<int> lru_model(std::size_t capacity, const std::vector<int>& trace) {
  std::deque<int> order;  // the most recent first
  std::vector<int> gone;
  for (const int block : trace) {
    const auto known = std::ranges::find(order, block);
    if (known != order.end()) {
      order.erase(known);
    } else if (order.size() == capacity) {
      gone.push_back(order.back());
      order.pop_back();
    }
    order.push_front(block);
  }
  return gone;
}

// The paper's algorithm, a block at a time, with vectors for queues.
std::vector<int> s3fifo_model(std::size_t capacity, const std::vector<int>& trace) {
  std::deque<int> small, main, ghosts;
  std::map<int, int> uses;
  std::vector<int> gone;
  const auto evict_from_main = [&] {
    while (true) {
      const int block = main.back();
      main.pop_back();
      if (uses[block] == 0) return gone.push_back(block);
      --uses[block];
      main.push_front(block);
    }
  };
  const auto evict = [&] {
    if (small.size() * 10 >= capacity || main.empty()) {
      while (!small.empty()) {
        const int block = small.back();
        small.pop_back();
        if (uses[block] <= 1) {
          gone.push_back(block);
          return ghosts.push_front(block);
        }
        uses[block] = 0;
        main.push_front(block);
      }
    }
    evict_from_main();
  };
  for (const int block : trace) {
    if (std::ranges::count(small, block) + std::ranges::count(main, block) > 0) {
      uses[block] = std::min(uses[block] + 1, 3);
      continue;
    }
    if (small.size() + main.size() == capacity) evict();
    const std::size_t max_ghosts = std::max<std::size_t>(16, small.size() + main.size());
    while (ghosts.size() > max_ghosts) ghosts.pop_back();
    uses[block] = 0;
    const auto ghost = std::ranges::find(ghosts, block);
    if (ghost != ghosts.end()) {
      ghosts.erase(ghost);
      main.push_front(block);
    } else {
      small.push_front(block);
    }
  }
  return gone;
}

std::vector<int> any_trace() {
  const auto length = *rc::gen::resize(400, rc::gen::inRange<std::size_t>(0, 400));
  // Two ranges, so that some blocks are used often and most are not.
  return *rc::gen::resize(100, rc::gen::container<std::vector<int>>(
                                   length, rc::gen::oneOf(rc::gen::inRange(0, 8), rc::gen::inRange(0, 90))));
}

TEST(EvictionModel, LruIsAList) {
  EXPECT_TRUE(rc::check([] {
    const auto capacity = *rc::gen::inRange<std::size_t>(1, 40);
    const std::vector<int> trace = any_trace();
    RC_ASSERT(evictions(**make_eviction_policy("lru", 0), capacity, trace) == lru_model(capacity, trace));
  }));
}

TEST(EvictionModel, S3FifoIsThePapersQueues) {
  EXPECT_TRUE(rc::check([] {
    const auto capacity = *rc::gen::inRange<std::size_t>(1, 40);
    const std::vector<int> trace = any_trace();
    RC_ASSERT(evictions(**make_eviction_policy("s3fifo", capacity), capacity, trace) == s3fifo_model(capacity, trace));
  }));
}

}  // namespace
}  // namespace cairn
