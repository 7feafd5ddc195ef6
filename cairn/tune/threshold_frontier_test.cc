// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "cairn/testing/tune_units.h"
#include "cairn/tune/frontier.h"

namespace cairn::tune {
namespace {

using testing::any_cap;
using testing::any_units;

TEST(OneThreshold, LiesBetweenTheBestPlanAndOneStepAbove) {
  ASSERT_TRUE(rc::check([] {
    const std::vector<Unit> units = any_units();
    const std::uint64_t cap = any_cap(units);
    const auto best = Frontier::make(units)->least_error(cap);
    const auto found = one_threshold(units, cap);
    RC_ASSERT(found.has_value() == best.has_value());
    if (!found) return;
    const Cost& cost = found->plan.cost;
    RC_ASSERT(cost == total_cost(units, found->plan.picks));
    RC_ASSERT(cost.bytes <= cap);
    RC_ASSERT(best->cost.error <= cost.error);
    double worst = 0;  // most that one step can save
    for (const Unit& unit : units) worst = std::max(worst, std::ranges::max(unit.choices, {}, &Choice::error).error);
    const double rounding = 1e-12 * (1 + worst * double(units.size()));
    RC_ASSERT(found->bound <= best->cost.error + rounding);
    RC_ASSERT(cost.error <= found->bound + worst + rounding);
    if (found->threshold == 0) RC_ASSERT(cost.error <= best->cost.error + rounding);
  }));
}

// Two units of three choices; the middle one of b lies above its hull.
const std::vector<Unit> kUnits = {{"a", {{"2", 10, 2, 8}, {"4", 20, 4, 2}, {"8", 40, 8, 0}}},
                                  {"b", {{"2", 10, 2, 3}, {"4", 20, 4, 2.9}, {"8", 30, 8, 0}}}};

TEST(OneThreshold, ByHand) {
  const auto plan = [](std::uint64_t cap) { return *one_threshold(kUnits, cap); };
  EXPECT_EQ(plan(20).plan, (Allocation{{0, 0}, {20, 11}}));
  EXPECT_EQ(plan(20).threshold, 0.6);  // of a's first step, the next to take
  EXPECT_EQ(plan(30).plan, (Allocation{{1, 0}, {30, 5}}));
  EXPECT_EQ(plan(49).plan.picks,
            (std::vector<std::size_t>{1, 0}));  // b's middle choice would fit and is not on its hull
  EXPECT_DOUBLE_EQ(plan(49).threshold, 0.15);
  EXPECT_DOUBLE_EQ(plan(49).bound, 5 - 19 * 0.15);
  EXPECT_EQ(plan(50).plan, (Allocation{{1, 2}, {50, 2}}));
  EXPECT_EQ(plan(70).plan, (Allocation{{2, 2}, {70, 0}}));
  EXPECT_EQ(plan(70).threshold, 0);
  EXPECT_EQ(plan(70).bound, 0);
  EXPECT_EQ(one_threshold(kUnits, 19).error().code, ErrorCode::kOutOfBudget);
}

TEST(OneThreshold, FillsWhatIsLeftWithSmallerSteps) {
  // a's second step would fit, but not without its first.
  const std::vector<Unit> units = {{"a", {{"s", 0, 0, 100}, {"m", 50, 0, 10}, {"l", 60, 0, 1}}},
                                   {"b", {{"s", 0, 0, 10}, {"l", 10, 0, 0}}}};
  EXPECT_EQ(one_threshold(units, 20)->plan, (Allocation{{0, 1}, {10, 100}}));
}

}  // namespace
}  // namespace cairn::tune
