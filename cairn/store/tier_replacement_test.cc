// SPDX-License-Identifier: Apache-2.0
// What replacing a record must do in every tier.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "cairn/store/record/compression.h"
#include "cairn/testing/tiers.h"

namespace cairn {
namespace {

class TierReplacement : public TierConformance {};

// The same block, smaller by pages.
struct Pair {
  TestBlock block;
  std::shared_ptr<const BlockRecord> plain, compressed;

  explicit Pair(std::uint64_t number) : block{.number = number, .part_bytes = {256, 20000, 20000}, .dull = true} {
    plain = block.record();
    compressed = *compress_record(*plain, 3);
  }
};

TEST_P(TierReplacement, ReplacesARecordAndNothingElseOfTheBlock) {
  const auto tier = make();
  if (tier == nullptr) GTEST_SKIP() << "redis-server is not installed";
  const Pair pair(1);
  ASSERT_NE(pair.compressed, nullptr);
  ASSERT_LT(pair.compressed->size(), pair.plain->size());
  EXPECT_EQ(tier->replace({&pair.compressed, 1}, soon())[0], BlockStatus::kMiss) << "there is nothing to replace";
  EXPECT_EQ(get(*tier, pair.block), BlockStatus::kMiss);
  EXPECT_EQ(tier->put({&pair.plain, 1}, soon())[0], BlockStatus::kOk);
  const std::int64_t until = unix_seconds() + 100'000;
  EXPECT_EQ(tier->pin(pair.plain->meta().key, until), BlockStatus::kOk);
  for (int twice = 0; twice < 2; ++twice) {
    EXPECT_EQ(tier->replace({&pair.compressed, 1}, soon())[0], BlockStatus::kOk);
    EXPECT_EQ(get(*tier, pair.block), BlockStatus::kOk);
    std::size_t listed = 0;
    EXPECT_TRUE(tier->list(
        [&](const StoredBlock& block) {
          EXPECT_TRUE(block.meta.compressed);
          EXPECT_LT(block.bytes, pair.plain->size());
          EXPECT_EQ(block.pinned_until_s, until);
          return ++listed > 0;
        },
        soon()));
    EXPECT_EQ(listed, 1u);
  }
  if (bounded()) {
    EXPECT_EQ(tier->stats().blocks, 1u);
    EXPECT_EQ(tier->stats().bytes, pair.compressed->size());
    EXPECT_EQ(tier->replace({&pair.plain, 1}, soon())[0], BlockStatus::kFull) << "longer than what is there";
    EXPECT_EQ(get(*tier, pair.block), BlockStatus::kOk);
  }
  const Digest key = pair.plain->meta().key;
  EXPECT_EQ(tier->erase({&key, 1}, soon())[0], BlockStatus::kOk);
  EXPECT_EQ(get(*tier, pair.block), BlockStatus::kMiss);
  if (bounded()) {
    EXPECT_EQ(tier->stats().bytes, 0u);
  }
}

TEST_P(TierReplacement, WhatOneReplacementFreesTheNextBlockTakes) {
  if (!bounded()) GTEST_SKIP() << "the server keeps the budget";
  const Pair first(1), second(2);
  const std::uint64_t budget = first.plain->size() + first.compressed->size() + kRecord;
  const auto tier = make({.budget_bytes = budget});
  EXPECT_EQ(tier->put({&first.plain, 1}, soon())[0], BlockStatus::kOk);
  EXPECT_EQ(tier->replace({&first.compressed, 1}, soon())[0], BlockStatus::kOk);
  EXPECT_EQ(tier->put({&second.plain, 1}, soon())[0], BlockStatus::kOk);
  EXPECT_LE(tier->stats().bytes, budget);
  EXPECT_EQ(tier->stats().evictions, 0u);
  EXPECT_EQ(get(*tier, first.block), BlockStatus::kOk);
  EXPECT_EQ(get(*tier, second.block), BlockStatus::kOk);
}

// Readers never miss: what they find is the one or the other.
TEST_P(TierReplacement, ReadersDoNotNoticeAReplacement) {
  const auto tier = make();
  if (tier == nullptr) GTEST_SKIP() << "redis-server is not installed";
  std::vector<Pair> pairs;
  for (std::uint64_t i = 0; i < 8; ++i) {
    pairs.emplace_back(i);
    ASSERT_EQ(tier->put({&pairs.back().plain, 1}, soon())[0], BlockStatus::kOk);
  }
  std::atomic<bool> stop = false;
  std::atomic<int> missed = 0, read = 0;
  std::vector<std::thread> readers;
  for (int t = 0; t < 3; ++t) {
    readers.emplace_back([&] {
      while (!stop) {
        for (const Pair& pair : pairs) missed += get(*tier, pair.block) != BlockStatus::kOk;
        ++read;
      }
    });
  }
  for (const Pair& pair : pairs) {
    const auto again = *compress_record(*pair.plain, 1);
    for (const auto& record : {pair.compressed, pair.compressed, again, pair.compressed}) {
      const BlockStatus status = tier->replace({&record, 1}, soon())[0];
      EXPECT_TRUE(status == BlockStatus::kOk || (record == again && record->size() > pair.compressed->size()));
    }
  }
  const int before = read;
  while (read < before + 6) std::this_thread::yield();
  stop = true;
  for (std::thread& thread : readers) thread.join();
  EXPECT_EQ(missed, 0);
}

// Who reads part by part has begun with one record and ends with it; who asks next gets the other one.
TEST_P(TierReplacement, AReplacementDoesNotDisturbReadsByParts) {
  const auto tier = make();
  if (tier == nullptr) GTEST_SKIP() << "redis-server is not installed";
  const Pair pair(1);
  ASSERT_EQ(tier->put({&pair.plain, 1}, soon())[0], BlockStatus::kOk);
  const Digest key = test_key(1);
  for (const auto& next : {pair.compressed, pair.compressed}) {
    std::shared_ptr<const BlockRecord> record;
    auto reads =
        tier->get_by_parts({&key, 1}, soon(), [&](std::size_t, BlockStatus, auto got) { record = std::move(got); });
    ASSERT_NE(record, nullptr);
    EXPECT_EQ(tier->replace({&next, 1}, soon())[0], BlockStatus::kOk);
    EXPECT_EQ(get(*tier, pair.block), BlockStatus::kOk);
    if (reads) {
      for (std::size_t part = 1; part <= 3; ++part)
        reads->read_to(part, [](std::size_t, BlockStatus) { ADD_FAILURE(); });
    }
    EXPECT_TRUE(pair.block.equals(*record));
    reads.reset();
    EXPECT_EQ(get(*tier, pair.block), BlockStatus::kOk);
  }
}

INSTANTIATE_TEST_SUITE_P(AllTiers, TierReplacement, ::testing::ValuesIn(kTierMakers),
                         [](const auto& maker) { return maker.param.name; });

}  // namespace
}  // namespace cairn
