// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/words.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <set>
#include <string>

namespace cairn {
namespace {

TEST(Words, AreSortedWithoutDuplicatesAndOfFourToEightSmallLetters) {
  const auto words = common_words();
  EXPECT_GE(words.size(), 400u);
  EXPECT_EQ(std::ranges::adjacent_find(words, std::greater_equal<>()), words.end());
  for (const std::string_view word : words) {
    EXPECT_TRUE(word.size() >= 4 && word.size() <= 8) << word;
    EXPECT_TRUE(std::ranges::all_of(word, [](char c) { return c >= 'a' && c <= 'z'; })) << word;
  }
}

TEST(Words, DrawsAreDifferentWords) {
  SeededRandom random(1);
  for (const std::size_t count : {0uz, 1uz, 8uz, 60uz, 100uz, common_words().size()}) {
    const auto drawn = draw_words(count, random);
    EXPECT_EQ(std::set(drawn.begin(), drawn.end()).size(), count);
  }
}

TEST(Words, KeysAreDifferentAndPairsOnlyWhereWordsRunOut) {
  SeededRandom random(2);
  const std::size_t words = common_words().size();
  for (const std::size_t count : {words, words + 1, 5 * words}) {
    const auto keys = draw_keys(count, random);
    EXPECT_EQ(std::set(keys.begin(), keys.end()).size(), count);
    const auto pairs = std::ranges::count_if(keys, [](const std::string& key) { return key.contains(' '); });
    EXPECT_EQ(static_cast<std::size_t>(pairs), count > words ? count : 0);
  }
}

}  // namespace
}  // namespace cairn
