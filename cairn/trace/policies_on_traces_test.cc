// SPDX-License-Identifier: Apache-2.0
// What the policies are for, on workloads made to show it; and the classes and rates of the learning one.
#include <gtest/gtest.h>

#include <string>

#include "cairn/base/random.h"
#include "cairn/eviction/worth.h"
#include "cairn/trace/replay.h"

namespace cairn {
namespace {

struct TraceMaker {
  Trace trace = {"test", 1, {}, {}};

  std::uint32_t block(std::uint32_t parent, std::uint32_t depth, std::uint64_t bytes = 1) {
    const auto number = static_cast<std::uint32_t>(trace.blocks.size());
    const Digest above = depth == 0 ? Digest{} : trace.blocks[parent].item.key;
    trace.blocks.push_back({{Hasher("test").u32(number).finish(), above, bytes, depth, 0}, 1});
    return number;
  }

  std::vector<std::uint32_t> prompt(std::vector<std::uint32_t> prefix, std::size_t more) {
    for (; more > 0; --more) {
      prefix.push_back(block(prefix.empty() ? 0 : prefix.back(), static_cast<std::uint32_t>(prefix.size())));
    }
    return prefix;
  }

  void request(const std::vector<std::uint32_t>& input) { trace.requests.push_back({input, {}, input.size()}); }
};

double hit_rate(const std::string& name, const Trace& trace, std::uint64_t capacity) {
  const auto policy = *make_eviction_policy(name, capacity);
  const ReplayCounts counts = *replay(trace, *policy, {.capacity_blocks = capacity, .block_bytes = 1, .progress = {}});
  EXPECT_LE(counts.max_resident, capacity);
  return rate(counts.prefix_hits, counts.lookups);
}

// Conversations come back after a while; between them come long documents, once each.
Trace conversations_and_scans() {
  TraceMaker maker;
  SeededRandom random(7);
  std::vector<std::vector<std::uint32_t>> talks;
  for (int i = 0; i < 40; ++i) talks.push_back(maker.prompt({}, 6));
  for (int round = 0; round < 600; ++round) {
    maker.request(random.pick(talks));
    maker.request(maker.prompt({}, 40));
  }
  return maker.trace;
}

TEST(CostPolicy, ResistsScans) {
  const Trace trace = conversations_and_scans();
  const double lru = hit_rate("lru", trace, 400), cost = hit_rate("cost", trace, 400);
  EXPECT_GT(cost, 2 * lru);
  EXPECT_GT(hit_rate("s3fifo", trace, 400), lru);
}

TEST(CostPolicy, KeepsSharedFirstBlocksWhole) {
  TraceMaker maker;
  SeededRandom random(3);
  std::vector<std::vector<std::uint32_t>> systems;
  for (int i = 0; i < 12; ++i) systems.push_back(maker.prompt({}, 8));
  for (int i = 0; i < 800; ++i) maker.request(maker.prompt(random.pick(systems), 20));
  EXPECT_GT(hit_rate("cost", maker.trace, 150), hit_rate("lru", maker.trace, 150) + 0.05);
}

TEST(CostPolicy, OfLikeBlocksTheCheaperPerByteGoesFirst) {
  const auto first_victim = [](std::uint64_t bytes_a, std::uint32_t depth_a, std::uint64_t bytes_b,
                               std::uint32_t depth_b) {
    const auto policy = *make_eviction_policy("cost", 0);
    const Digest a = Hasher("a").finish(), b = Hasher("b").finish();
    for (std::uint32_t i = 0; i < 200; ++i) {  // so that it has learned something
      policy->inserted({Hasher("other").u32(i).finish(), {}, 64, 0, 0});
      policy->removed(Hasher("other").u32(i).finish());
    }
    policy->inserted({a, Hasher("root a").finish(), bytes_a, depth_a, 0});
    policy->inserted({b, Hasher("root b").finish(), bytes_b, depth_b, 0});
    return policy->victim([](const Digest&) { return true; }) == a ? 'a' : 'b';
  };
  EXPECT_EQ(first_victim(64, 0, 64, 0), 'a');  // the older
  EXPECT_EQ(first_victim(64, 0, 256, 0), 'b');
  EXPECT_EQ(first_victim(256, 0, 64, 0), 'a');
  EXPECT_EQ(first_victim(64, 1500, 64, 0), 'b');
  EXPECT_EQ(first_victim(64, 0, 64, 1500), 'a');
}

TEST(CostPolicy, LearnsFromHitsWithoutAnyEviction) {
  const auto policy = *make_eviction_policy("cost", 0);
  std::vector<Digest> keys;
  const auto insert = [&](const std::string& name, const Digest& parent, std::uint32_t depth) {
    keys.push_back(Hasher("block").text(name).finish());
    policy->inserted({keys.back(), parent, 1, depth, 0});
    return keys.back();
  };
  const auto insert_run = [&](const std::string& name) {
    Digest key = Hasher("root").text(name).finish();
    for (std::uint32_t d = 0; d < 40; ++d) key = insert(name + "." + std::to_string(d), key, d);
  };
  for (int i = 0; i < 50; ++i) {  // short prompts are used again, long ones are not
    const std::string name = std::to_string(i);
    const Digest key = insert("short " + name, Hasher("root").text(name).finish(), 0);
    insert_run("long " + name);
    policy->used(key);
  }
  for (const Digest& key : keys) policy->removed(key);
  const Digest short_one = insert("short", Hasher("root").text("short").finish(), 0);
  insert_run("long");
  EXPECT_EQ(policy->victim([](const Digest&) { return true; }), keys.back());
  EXPECT_EQ(policy->victim([&](const Digest& key) { return key != keys.back(); }), short_one);
}

TEST(CostPolicy, ForgetsGhosts) {
  const auto policy = *make_eviction_policy("cost", 0);
  for (std::uint32_t i = 0; i < 20000; ++i) {
    const Digest key = Hasher("k").u32(i).finish();
    policy->inserted({key, {}, 1, 0, 0});
    policy->removed(key);
  }
  EXPECT_LE(policy->ghosts(), 1024u);
  EXPECT_GT(policy->ghosts(), 512u);
}

TEST(BlockClass, TellsRunsApart) {
  BlockHistory root, system, a, b, c;
  join_run(root, nullptr);
  root.uses = 1;
  join_run(system, &root);
  system.uses = 2;  // used again: what follows is new
  join_run(a, &system);
  a.uses = 1;
  join_run(b, &a);
  b.uses = 1;
  EXPECT_EQ(root.run, system.run);
  EXPECT_EQ(a.run, b.run);
  EXPECT_NE(a.run, root.run);
  EXPECT_TRUE(a.run->continues);
  EXPECT_NE(block_class(a), block_class(b));  // b is the end
  system.children = kHubChildren + 1;
  join_run(c, &system);
  c.uses = 1;
  EXPECT_FALSE(c.run->continues);
  EXPECT_LT(block_class(c), kBlockClasses);
}

TEST(HitDensity, BinsCoverAllAges) {
  EXPECT_EQ(HitDensity::bin(0), 0u);
  EXPECT_EQ(HitDensity::bin(15), 0u);
  EXPECT_EQ(HitDensity::bin(UINT64_MAX), HitDensity::kBins - 1);
  for (std::size_t b = 0; b < HitDensity::kBins; ++b) EXPECT_EQ(HitDensity::bin(HitDensity::bin_begin(b)), b);
}

TEST(HitDensity, LearnsWhichClassAndWhichAge) {
  HitDensity density(2);
  for (int i = 0; i < 5000; ++i) {  // class 1 is hit at about age 3000, one in two; class 0 never
    for (std::size_t of_class : {0, 1}) {
      for (std::uint64_t age = 0; age < 6000; age += 200) density.kept(of_class, age, 200);
    }
    if (i % 2 == 0) density.hit(1, 3000);
  }
  density.learn(1);
  EXPECT_GT(density.worth(1, HitDensity::bin(0)), 5 * density.worth(0, HitDensity::bin(0)));
  EXPECT_GT(density.worth(1, HitDensity::bin(2500)), density.worth(1, HitDensity::bin(100)));
  EXPECT_GT(density.worth(1, HitDensity::bin(2500)), density.worth(1, HitDensity::bin(5500)));
}

}  // namespace
}  // namespace cairn
