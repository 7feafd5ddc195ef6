// SPDX-License-Identifier: Apache-2.0
#include "cairn/tune/choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <limits>

#include "cairn/testing/tune_units.h"

namespace cairn::tune {
namespace {

using testing::any;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(ParetoFront, IsWhatNothingDominates) {
  ASSERT_TRUE(rc::check([] {
    std::vector<Cost> costs;
    for (int i = any(0, 20); i > 0; --i) {
      costs.push_back({any<std::uint64_t>(0, 6), double(any(0, 6))});
    }
    const std::vector<std::size_t> front = pareto_front(costs);
    for (std::size_t i = 0; i < costs.size(); ++i) {
      bool best = true;
      for (std::size_t j = 0; j < costs.size(); ++j) {
        best = best && !dominates(costs[j], costs[i]) && !(j < i && costs[j] == costs[i]);
      }
      RC_ASSERT(best == (std::ranges::find(front, i) != front.end()));
    }
    for (std::size_t i = 1; i < front.size(); ++i) {
      RC_ASSERT(costs[front[i - 1]].bytes < costs[front[i]].bytes);
      RC_ASSERT(costs[front[i - 1]].error > costs[front[i]].error);
    }
  }));
}

TEST(ParetoFront, LeavesOutNan) {
  const std::vector<Cost> costs = {{1, kNan}, {2, 5}, {3, kNan}, {4, 1}};
  EXPECT_EQ(pareto_front(costs), (std::vector<std::size_t>{1, 3}));
  EXPECT_TRUE(pareto_front({}).empty());
}

TEST(Pruned, KeepsNamesAndOrder) {
  const Unit unit{"layer 0 keys", {{"a", 30, 3, 2}, {"b", 20, 2, 4}, {"worse", 30, 3, 4}, {"twin of b", 20, 2, 4}}};
  const Unit kept = pruned(unit);
  ASSERT_EQ(kept.choices.size(), 2u);
  EXPECT_EQ(kept.choices[0].name, "b");
  EXPECT_EQ(kept.choices[1].name, "a");
  EXPECT_EQ(kept.name, unit.name);
}

TEST(CheckUnits, RefusesWhatCannotBeAdded) {
  const auto refusal = [](const std::vector<Unit>& units) {
    const Status status = check_units(units);
    EXPECT_FALSE(status);
    EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
    return status.error().message;
  };
  EXPECT_THAT(refusal({}), ::testing::HasSubstr("no units"));
  EXPECT_THAT(refusal({{"layer 0 keys", {}}}), ::testing::HasSubstr("layer 0 keys has no choices"));
  for (const double bad : {kNan, kInfinity, -kInfinity, -1e-300}) {
    EXPECT_THAT(refusal({{"layer 1 values", {{"good", 1, 1, 0}, {"kivi2", 1, 1, bad}}}}),
                ::testing::HasSubstr("the error of 'kivi2' for layer 1 values"));
  }
  const std::uint64_t half = std::uint64_t{1} << 62;
  EXPECT_THAT(refusal({{"a", {{"x", half, 1, 0}}}, {"b", {{"x", 1, 1, 0}}}}), ::testing::HasSubstr("2^62"));
  EXPECT_THAT(refusal({{"a", {{"x", UINT64_MAX, 1, 0}}}}), ::testing::HasSubstr("2^62"));
  EXPECT_THAT(refusal({{"a", {{"x", 1, 1, 1e308}}}, {"b", {{"x", 1, 1, 1e308}}}}), ::testing::HasSubstr("infinity"));
  EXPECT_TRUE(check_units(std::vector<Unit>{{"a", {{"x", half, 1, 0}}}}));
}

TEST(TotalCost, AddsFromTheLastToTheFirst) {
  const std::vector<Unit> units = {{"a", {{"x", 1, 0, 1e17}}}, {"b", {{"x", 2, 0, 9}}}, {"c", {{"x", 4, 0, 9}}}};
  EXPECT_EQ(total_cost(units, std::vector<std::size_t>{0, 0, 0}), (Cost{7, 1e17 + 18}));
  EXPECT_NE(1e17 + 18, 1e17 + 9 + 9);  // or the test would show nothing
}

}  // namespace
}  // namespace cairn::tune
