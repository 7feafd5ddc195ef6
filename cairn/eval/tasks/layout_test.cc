// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/tasks/layout.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "cairn/eval/tasks/material.h"

namespace cairn::tasks {
namespace {

TEST(Layout, FiveTurnsAskForFiveDepths) {
  std::set<std::vector<std::uint32_t>> orders;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    SeededRandom random(seed);
    const auto depths = draw_depths(7, random);
    EXPECT_EQ(std::set(depths.begin(), depths.begin() + 5), std::set({0u, 1u, 2u, 3u, 4u}));
    EXPECT_EQ(std::set(depths.begin() + 2, depths.end()).size(), 5u);
    orders.insert(depths);
  }
  EXPECT_GT(orders.size(), 60u);  // of 120
}

TEST(Layout, DepthIsTheFifthOfTheBytes) {
  EXPECT_EQ(depth_of(0, 10), 0u);
  EXPECT_EQ(depth_of(1, 10), 0u);
  EXPECT_EQ(depth_of(2, 10), 1u);
  EXPECT_EQ(depth_of(9, 10), 4u);
}

TEST(Layout, PlacesQuestionsAndKeepsEveryUnitOnce) {
  EXPECT_TRUE(rc::check([] {
    const auto count = *rc::gen::inRange<std::size_t>(15, 60);
    const auto turns = *rc::gen::inRange<std::size_t>(1, 6);
    std::vector<TextUnit> units;
    for (std::size_t i = 0; i < count; ++i) units.push_back(unit_of(std::string(*rc::gen::inRange(20, 41), 'x')));
    SeededRandom random(*rc::gen::arbitrary<std::uint64_t>());
    const auto placement = place_questions(units, turns, random);
    RC_ASSERT(placement.has_value());
    RC_ASSERT(std::set(placement->order.begin(), placement->order.end()).size() == count);
    RC_ASSERT(placement->order.size() == count);
    std::size_t total = 0, at = 0;
    for (const TextUnit& unit : units) total += unit.text.size();
    for (const std::size_t unit : placement->order) {
      if (unit < turns) RC_ASSERT(depth_of(at + units[unit].focus, total) == placement->depths[unit]);
      at += units[unit].text.size();
    }
  }));
}

TEST(Layout, SaysWhereItCannotPlace) {
  SeededRandom random(3);
  std::vector<TextUnit> units(5, unit_of("x"));
  units[0] = unit_of(std::string(100, 'x'));  // as long as four fifths and more: the others cannot have theirs
  EXPECT_FALSE(place_questions(units, 5, random));
}

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
}  // namespace cairn::tasks
