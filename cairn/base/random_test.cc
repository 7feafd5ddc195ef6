// SPDX-License-Identifier: Apache-2.0
#include "cairn/base/random.h"

#include <gtest/gtest.h>

#include <vector>

namespace cairn {
namespace {

TEST(SeededRandom, IsTheSameEverywhere) {
  SeededRandom random(1, "S1", 2, 3);
  const std::uint64_t first = random.next();
  EXPECT_EQ(SeededRandom(1, "S1", 2, 3).next(), first);
  EXPECT_NE(SeededRandom(1, "S1", 3, 2).next(), first);
  EXPECT_NE(SeededRandom(1, "S2", 2, 3).next(), first);
  EXPECT_EQ(SeededRandom(42).next(), 0xbdd732262feb6e95u);  // SplitMix64's published sequence from 42
  std::vector<int> counts(7);
  for (int i = 0; i < 7000; ++i) ++counts[random.below(7)];
  for (const int count : counts) EXPECT_NEAR(count, 1000, 150);
}

}  // namespace
}  // namespace cairn
