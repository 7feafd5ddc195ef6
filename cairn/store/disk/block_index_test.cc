// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/disk/block_index.h"

#include <gtest/gtest.h>

#include "cairn/testing/stored_blocks.h"

namespace cairn::disk {
namespace {

BlockMeta meta(std::uint64_t number) {
  return TestBlock{.number = number}.record()->meta();
}

// The index looks into no file.
Place place(std::uint64_t offset, std::uint64_t bytes = 100) {
  return {.segment = nullptr, .offset = offset, .bytes = bytes};
}

BlockIndex index(std::uint64_t budget = 300) {
  return *BlockIndex::create({.budget_bytes = budget, .policy = "lru"});
}

TEST(BlockIndex, ABlockIsVisibleWhenItIsWritten) {
  BlockIndex index = disk::index();
  ASSERT_TRUE(index.admit(meta(1), 100));
  EXPECT_EQ(index.find(test_key(1)), nullptr);
  EXPECT_EQ(index.residency().bytes(), 100u);
  index.insert(meta(1), place(7));
  ASSERT_NE(index.find(test_key(1)), nullptr);
  EXPECT_EQ(index.find(test_key(1))->place.offset, 7u);
  EXPECT_TRUE(index.find(test_key(1))->meta.parts.empty());
  ASSERT_TRUE(index.admit(meta(2), 100));
  index.withdraw(test_key(2));
  EXPECT_EQ(index.find(test_key(2)), nullptr);
  EXPECT_EQ(index.residency().bytes(), 100u);
  EXPECT_EQ(index.gone().find(test_key(2)), Gone::kUnknown);
}

TEST(BlockIndex, WhatIsBeingWrittenIsNotEvicted) {
  BlockIndex index = disk::index(200);
  ASSERT_TRUE(index.admit(meta(1), 100));
  ASSERT_TRUE(index.admit(meta(2), 100));
  EXPECT_FALSE(index.admit(meta(3), 100));
  index.insert(meta(1), place(0));
  const auto evict = index.admit(meta(3), 100);
  ASSERT_TRUE(evict);
  EXPECT_EQ(*evict, std::vector{test_key(1)});
  EXPECT_EQ(index.erase(test_key(1), Gone::kEvicted)->offset, 0u);
  EXPECT_EQ(index.gone().find(test_key(1)), Gone::kEvicted);
  EXPECT_FALSE(index.erase(test_key(1), Gone::kErased)) << "it is gone already";
  EXPECT_EQ(index.gone().find(test_key(1)), Gone::kEvicted);
  EXPECT_EQ(index.residency().bytes(), 200u);
}

TEST(BlockIndex, AnotherPlaceKeepsPinsAndFreesTheDifference) {
  BlockIndex index = disk::index();
  EXPECT_TRUE(index.restore(meta(1), place(0)));
  EXPECT_FALSE(index.restore(meta(1), place(500)));
  EXPECT_TRUE(index.residency().pin(test_key(1), unix_seconds() + 100));
  BlockMeta smaller = meta(1);
  smaller.compressed = true;
  EXPECT_EQ(index.move(smaller, place(300, 60)).offset, 0u);
  EXPECT_TRUE(index.find(test_key(1))->meta.compressed);
  EXPECT_EQ(index.residency().bytes(), 60u);
  EXPECT_NE(index.residency().pinned_until(test_key(1)), 0);
  EXPECT_EQ(index.exchange(meta(1), place(700, 250)).offset, 300u);
  EXPECT_EQ(index.residency().bytes(), 250u);
  EXPECT_NE(index.residency().pinned_until(test_key(1)), 0);
  EXPECT_EQ(index.find(test_key(1))->place.offset, 700u);
}

TEST(BlockIndex, ShrinkingNamesWhatHasToGo) {
  BlockIndex index = disk::index(200);
  for (std::uint64_t i = 0; i < 5; ++i) EXPECT_TRUE(index.restore(meta(i), place(100 * i)));
  const std::vector<Digest> gone = index.shrink();
  EXPECT_EQ(gone, (std::vector{test_key(0), test_key(1), test_key(2)}));
  for (const Digest& key : gone) EXPECT_TRUE(index.erase(key, Gone::kEvicted));
  EXPECT_EQ(index.size(), 2u);
  EXPECT_EQ(index.residency().bytes(), 200u);
}

TEST(BlockIndex, CountsRecordsOfOtherVersions) {
  BlockIndex index = disk::index();
  index.note_foreign(test_key(1), 1);
  EXPECT_EQ(index.foreign(), 1u);
  EXPECT_EQ(index.gone().find(test_key(1)), Gone::kForeign);
  ASSERT_TRUE(index.admit(meta(1), 100));
  index.insert(meta(1), place(0));
  EXPECT_EQ(index.gone().find(test_key(1)), Gone::kUnknown) << "it is there again";
}

}  // namespace
}  // namespace cairn::disk
