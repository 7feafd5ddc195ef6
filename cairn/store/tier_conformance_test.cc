// SPDX-License-Identifier: Apache-2.0
// What every tier must do, whatever it is made of.
#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "cairn/testing/tiers.h"

namespace cairn {
namespace {

TEST_P(TierConformance, GivesBackWhatWasPut) {
  const auto tier = make();
  if (tier == nullptr) GTEST_SKIP() << "redis-server is not installed";
  const TestBlock small{.number = 1}, large{.number = 2, .part_bytes = {256, 40000, 1}};
  EXPECT_EQ(get(*tier, small), BlockStatus::kMiss);
  EXPECT_EQ(put(*tier, small), BlockStatus::kOk);
  EXPECT_EQ(put(*tier, large), BlockStatus::kOk);
  EXPECT_EQ(put(*tier, small), BlockStatus::kOk) << "twice the same";
  EXPECT_EQ(get(*tier, small), BlockStatus::kOk);
  EXPECT_EQ(get(*tier, large), BlockStatus::kOk);
  const Digest keys[] = {test_key(1), test_key(3), test_key(2)};
  EXPECT_EQ(tier->contains(keys, soon()), (std::vector{BlockStatus::kOk, BlockStatus::kMiss, BlockStatus::kOk}));
  if (bounded()) {
    EXPECT_EQ(tier->stats().blocks, 2u);
  }
}

TEST_P(TierConformance, ErasedBlocksAreGone) {
  const auto tier = make();
  if (tier == nullptr) GTEST_SKIP() << "redis-server is not installed";
  for (std::uint64_t i = 0; i < 5; ++i) EXPECT_EQ(put(*tier, {.number = i}), BlockStatus::kOk);
  const Digest keys[] = {test_key(1), test_key(77)};
  EXPECT_EQ(tier->erase(keys, soon()), (std::vector{BlockStatus::kOk, BlockStatus::kOk}));
  EXPECT_EQ(get(*tier, {.number = 1}), BlockStatus::kMiss);
  EXPECT_EQ(get(*tier, {.number = 2}), BlockStatus::kOk);
  if (bounded()) {
    EXPECT_EQ(tier->stats().bytes, 4 * kRecord);
  }
}

TEST_P(TierConformance, NeverHoldsMoreThanItsBudget) {
  if (!bounded()) GTEST_SKIP() << "the server keeps the budget";
  const auto tier = make({.budget_bytes = 10 * kRecord});
  if (tier == nullptr) GTEST_SKIP() << "redis-server is not installed";
  for (std::uint64_t i = 0; i < 50; ++i) {
    EXPECT_EQ(put(*tier, {.number = i}), BlockStatus::kOk) << i;
    EXPECT_LE(tier->stats().bytes, 10 * kRecord);
  }
  EXPECT_EQ(tier->stats().evictions, 40u);
  std::size_t held = 0;
  for (std::uint64_t i = 0; i < 50; ++i) held += get(*tier, {.number = i}) == BlockStatus::kOk;
  EXPECT_EQ(held, 10u);
  EXPECT_EQ(put(*tier, {.number = 99, .part_bytes = {256, 90000}}), BlockStatus::kFull) << "larger than all there is";
  EXPECT_EQ(tier->stats().blocks, 10u) << "what is refused costs nobody a block";
}

// A prompt longer than the budget keeps its beginning, which is what the next one can use.
TEST_P(TierConformance, AChainLongerThanTheBudgetKeepsItsHead) {
  if (!bounded()) GTEST_SKIP() << "the server keeps the budget";
  for (const char* policy : {"cost", "lru", "s3fifo"}) {
    TestFolder folder;
    const auto tier = GetParam().make(folder, {.budget_bytes = 10 * kRecord, .policy = policy});
    for (int round = 0; round < 3; ++round) {
      for (std::uint32_t i = 0; i < 30; ++i) {
        (void)put(*tier, {.number = i, .parent = i == 0 ? 1000 : i - 1, .depth = i});
      }
      std::uint64_t prefix = 0;
      while (get(*tier, {.number = prefix}) == BlockStatus::kOk) ++prefix;
      EXPECT_GE(prefix, 5u) << policy << ' ' << round;
    }
  }
}

// One large block may need the place of several small ones of one chain.
TEST_P(TierConformance, ALargeBlockTakesThePlaceOfAChain) {
  if (!bounded()) GTEST_SKIP() << "the server keeps the budget";
  const auto tier = make({.budget_bytes = 10 * kRecord});
  for (std::uint32_t i = 0; i < 10; ++i) {
    EXPECT_EQ(put(*tier, {.number = i, .parent = i == 0 ? 1000 : i - 1, .depth = i}), BlockStatus::kOk);
  }
  EXPECT_EQ(put(*tier, {.number = 50, .part_bytes = {256, 40000}}), BlockStatus::kOk);
  EXPECT_EQ(get(*tier, {.number = 0}), BlockStatus::kOk);
  EXPECT_EQ(get(*tier, {.number = 9}), BlockStatus::kMiss);
}

TEST_P(TierConformance, ATenantPaysForItself) {
  if (!bounded()) GTEST_SKIP() << "the server keeps the budget";
  const auto tier = make({.budget_bytes = 10 * kRecord, .tenant_budget_bytes = 4 * kRecord});
  if (tier == nullptr) GTEST_SKIP() << "redis-server is not installed";
  for (std::uint64_t i = 0; i < 4; ++i) EXPECT_EQ(put(*tier, {.number = i, .tenant = 11}), BlockStatus::kOk);
  for (std::uint64_t i = 100; i < 130; ++i) EXPECT_EQ(put(*tier, {.number = i, .tenant = 22}), BlockStatus::kOk);
  for (std::uint64_t i = 0; i < 4; ++i) EXPECT_EQ(get(*tier, {.number = i}), BlockStatus::kOk) << "a scan evicted it";
  EXPECT_EQ(tier->stats().blocks, 8u);
}

TEST_P(TierConformance, NobodyIsBroughtBelowAnEqualPart) {
  if (!bounded()) GTEST_SKIP() << "the server keeps the budget";
  const auto tier = make({.budget_bytes = 10 * kRecord});
  for (std::uint64_t i = 0; i < 4; ++i) EXPECT_EQ(put(*tier, {.number = i, .tenant = 11}), BlockStatus::kOk);
  for (std::uint64_t i = 100; i < 130; ++i) EXPECT_EQ(put(*tier, {.number = i, .tenant = 22}), BlockStatus::kOk);
  for (std::uint64_t i = 0; i < 4; ++i) EXPECT_EQ(get(*tier, {.number = i}), BlockStatus::kOk) << "a scan evicted it";
  EXPECT_EQ(tier->stats().blocks, 10u);
  // A tenant that holds more gives way to one that comes later.
  for (std::uint64_t i = 200; i < 210; ++i) EXPECT_EQ(put(*tier, {.number = i, .tenant = 33}), BlockStatus::kOk);
  std::size_t of_first = 0, of_third = 0;
  for (std::uint64_t i = 0; i < 4; ++i) of_first += get(*tier, {.number = i}) == BlockStatus::kOk;
  for (std::uint64_t i = 200; i < 210; ++i) of_third += get(*tier, {.number = i}) == BlockStatus::kOk;
  EXPECT_GE(of_first, 3u);
  EXPECT_GE(of_third, 3u);
  EXPECT_EQ(tier->stats().blocks, 10u);
}

TEST_P(TierConformance, LookingKeepsNothingFromBeingEvicted) {
  if (!bounded()) GTEST_SKIP() << "the server keeps the budget";
  const auto tier = make({.budget_bytes = 5 * kRecord});
  std::vector<Digest> keys;
  for (std::uint64_t i = 0; i < 5; ++i) {
    EXPECT_EQ(put(*tier, {.number = i}), BlockStatus::kOk);
    keys.push_back(test_key(i));
  }
  EXPECT_EQ(tier->contains(keys, soon()), std::vector(5, BlockStatus::kOk));
  EXPECT_EQ(put(*tier, {.number = 10}), BlockStatus::kOk);
  EXPECT_EQ(tier->stats().blocks, 5u);
}

TEST_P(TierConformance, PinnedBlocksStay) {
  if (!bounded()) GTEST_SKIP() << "the server keeps the budget";
  const auto tier = make({.budget_bytes = 5 * kRecord});
  if (tier == nullptr) GTEST_SKIP() << "redis-server is not installed";
  for (std::uint64_t i = 0; i < 5; ++i) EXPECT_EQ(put(*tier, {.number = i}), BlockStatus::kOk);
  EXPECT_EQ(tier->pin(test_key(0), unix_seconds() + 1000), BlockStatus::kOk);
  EXPECT_EQ(tier->pin(test_key(1), unix_seconds() - 1), BlockStatus::kOk);
  EXPECT_EQ(tier->pin(test_key(99), unix_seconds() + 1000), BlockStatus::kMiss);
  for (std::uint64_t i = 10; i < 30; ++i) EXPECT_EQ(put(*tier, {.number = i}), BlockStatus::kOk);
  EXPECT_EQ(get(*tier, {.number = 0}), BlockStatus::kOk);
  EXPECT_EQ(get(*tier, {.number = 1}), BlockStatus::kMiss) << "its pin was over";
}

TEST_P(TierConformance, ExpiredBlocksAreMisses) {
  const auto tier = make();
  if (tier == nullptr) GTEST_SKIP() << "redis-server is not installed";
  EXPECT_EQ(put(*tier, {.number = 1, .expires_s = unix_seconds() - 1}), BlockStatus::kOk);
  EXPECT_EQ(put(*tier, {.number = 2, .expires_s = unix_seconds() + 1000}), BlockStatus::kOk);
  EXPECT_NE(get(*tier, {.number = 1}), BlockStatus::kOk);
  EXPECT_EQ(get(*tier, {.number = 2}), BlockStatus::kOk);
}

TEST_P(TierConformance, AReportedBlockIsGone) {
  const auto tier = make();
  if (tier == nullptr) GTEST_SKIP() << "redis-server is not installed";
  EXPECT_EQ(put(*tier, {.number = 1}), BlockStatus::kOk);
  tier->report_corrupt(test_key(1));
  EXPECT_EQ(get(*tier, {.number = 1}), BlockStatus::kMiss);
  EXPECT_GE(tier->stats().corrupt, 1u);
  EXPECT_EQ(put(*tier, {.number = 1}), BlockStatus::kOk) << "it can be stored anew";
  EXPECT_EQ(get(*tier, {.number = 1}), BlockStatus::kOk);
}

TEST_P(TierConformance, ListsWhatItHoldsAndKnowsRecipes) {
  const auto tier = make();
  if (tier == nullptr) GTEST_SKIP() << "redis-server is not installed";
  for (std::uint64_t i = 0; i < 3; ++i) EXPECT_EQ(put(*tier, {.number = i, .depth = 4}), BlockStatus::kOk);
  std::set<Digest> keys;
  const Status listed = tier->list(
      [&](const StoredBlock& block) {
        EXPECT_GE(block.bytes, kRecord);
        EXPECT_EQ(block.meta.depth, 4u);
        return keys.insert(block.meta.key).second;
      },
      soon());
  EXPECT_TRUE(listed);
  EXPECT_EQ(keys, (std::set{test_key(0), test_key(1), test_key(2)}));
  tier->describe_recipe(test_key(5), "weights: 12\n");
  EXPECT_EQ(tier->recipes(), (std::map<Digest, std::string>{{test_key(5), "weights: 12\n"}}));
}

TEST_P(TierConformance, ManyThreadsSeeWholeBlocksOrNone) {
  const auto tier = make({.budget_bytes = 12 * kRecord});
  if (tier == nullptr) GTEST_SKIP() << "redis-server is not installed";
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0, hits = 0;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      SeededRandom random(t);
      for (int i = 0; i < 150; ++i) {
        const TestBlock block{.number = random.below(24)};
        if (random.below(3) == 0) {
          (void)put(*tier, block);
        } else {
          const BlockStatus status = get(*tier, block);
          wrong += status != BlockStatus::kOk && status != BlockStatus::kMiss;
          hits += status == BlockStatus::kOk;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(hits, 0);
}

// Part by part or whole: the same blocks, the same bytes, the same misses.
TEST_P(TierConformance, PartsComeOneAfterTheOther) {
  const auto tier = make();
  if (tier == nullptr) GTEST_SKIP() << "redis-server is not installed";
  std::vector<TestBlock> blocks;
  // Parts that end inside pages, on their borders, and none at all; one header longer than what is read first.
  for (const std::vector<std::uint32_t>& parts :
       {std::vector<std::uint32_t>{256, 1000, 1000}, {4096, 4096, 8192}, {1, 70000, 1}, {0, 10, 5000}}) {
    blocks.push_back({.number = blocks.size(), .part_bytes = parts});
  }
  blocks.push_back({.number = blocks.size(), .part_bytes = std::vector<std::uint32_t>(600, 7)});
  std::vector<Digest> keys;
  for (const TestBlock& block : blocks) {
    ASSERT_EQ(put(*tier, block), BlockStatus::kOk);
    keys.push_back(test_key(block.number));
  }
  keys.insert(keys.begin() + 2, test_key(77));
  std::vector<std::shared_ptr<const BlockRecord>> records(keys.size());
  const auto reads = tier->get_by_parts(keys, soon(), [&](std::size_t i, BlockStatus status, auto record) {
    EXPECT_EQ(status, i == 2 ? BlockStatus::kMiss : BlockStatus::kOk);
    records[i] = std::move(record);
  });
  EXPECT_EQ(reads != nullptr, tier->reads_parts());
  const auto expect_part = [&](std::size_t key, std::size_t part) {
    const TestBlock& block = blocks[key - (key > 2 ? 1 : 0)];
    if (key == 2 || part >= block.part_bytes.size()) return;
    std::vector<std::byte> out(block.part_bytes[part]);
    EXPECT_TRUE(records[key]->copy_part(part, out)) << "block " << key << " part " << part;
    EXPECT_EQ(out, block.contents()[part]);
  };
  for (std::size_t part = 0; part < 3; ++part) {
    if (reads) reads->read_to(part + 1, [](std::size_t i, BlockStatus) { ADD_FAILURE() << "block " << i; });
    for (std::size_t key = 0; key < keys.size(); ++key) expect_part(key, part);
  }
  EXPECT_EQ(tier->stats().hits, blocks.size());
}

// What is being read part by part keeps its place, however much is written meanwhile.
TEST_P(TierConformance, BlocksReadByPartsAreNotEvicted) {
  if (!GetParam().bounded) GTEST_SKIP() << "a server decides by itself what it evicts";
  const auto tier = make({.budget_bytes = 4 * kRecord, .policy = "lru"});
  if (!tier->reads_parts()) GTEST_SKIP() << "it hands out whole blocks";
  const TestBlock block{.number = 1};
  ASSERT_EQ(put(*tier, block), BlockStatus::kOk);
  const Digest key = test_key(1);
  std::shared_ptr<const BlockRecord> record;
  auto reads =
      tier->get_by_parts({&key, 1}, soon(), [&](std::size_t, BlockStatus, auto got) { record = std::move(got); });
  ASSERT_NE(record, nullptr);
  for (std::uint64_t number = 2; number < 12; ++number) put(*tier, {.number = number});
  reads->read_to(3, [](std::size_t, BlockStatus) { ADD_FAILURE(); });
  EXPECT_TRUE(block.equals(*record));
  reads.reset();
  for (std::uint64_t number = 12; number < 22; ++number) put(*tier, {.number = number});
  EXPECT_EQ(get(*tier, block), BlockStatus::kMiss) << "its lease ended with the reads";
}

INSTANTIATE_TEST_SUITE_P(AllTiers, TierConformance, ::testing::ValuesIn(kTierMakers),
                         [](const auto& maker) { return maker.param.name; });

}  // namespace
}  // namespace cairn
