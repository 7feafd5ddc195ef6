// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/tasks/layout.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

namespace cairn {
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

}  // namespace
}  // namespace cairn
