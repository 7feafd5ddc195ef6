// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/windows.h"

#include <gtest/gtest.h>

#include <numeric>

namespace cairn {
namespace {

std::vector<TokenId> text(std::size_t tokens) {
  std::vector<TokenId> ids(tokens);
  std::iota(ids.begin(), ids.end(), 100);
  return ids;
}

TEST(Windows, DefaultsAreThoseOfTheUsualTool) {
  const auto windows = Windows::make(text(1100), 1, {.context = 512});
  ASSERT_TRUE(windows);
  EXPECT_EQ(windows->size(), 2u);
  EXPECT_EQ(windows->predictions(), 255u);
  EXPECT_EQ(windows->first_logits(), 256u);
  const auto second = windows->tokens(1);
  EXPECT_EQ(second.size(), 512u);
  EXPECT_EQ(second[0], 1);  // the begin token instead of the text's
  EXPECT_EQ(second[1], 100 + 513);
  EXPECT_EQ(second.back(), 100 + 1023);
}

TEST(Windows, StrideSkipAndLimit) {
  const auto windows = Windows::make(text(100), std::nullopt, {.context = 10, .stride = 5, .skip = 4});
  ASSERT_TRUE(windows);
  EXPECT_EQ(windows->size(), 19u);
  EXPECT_EQ(windows->predictions(), 5u);
  EXPECT_EQ(windows->tokens(18).back(), 199);
  EXPECT_EQ(windows->tokens(1).front(), 105);
  EXPECT_EQ(Windows::make(text(100), 1, {.context = 10, .max_windows = 3})->size(), 3u);
}

TEST(Windows, RefusesWhatLeavesNothing) {
  EXPECT_FALSE(Windows::make(text(9), 1, {.context = 10}));
  EXPECT_FALSE(Windows::make(text(9), 1, {.context = 1}));
  EXPECT_FALSE(Windows::make(text(90), 1, {.context = 10, .skip = 9}));
  EXPECT_TRUE(Windows::make(text(90), 1, {.context = 10, .skip = 8}));
  EXPECT_FALSE(Windows::make({}, 1, {}));
}

}  // namespace
}  // namespace cairn
