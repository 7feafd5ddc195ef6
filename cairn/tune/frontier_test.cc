// SPDX-License-Identifier: Apache-2.0
// Against every plan there is; doubles are compared for equality, since the least sum is claimed to be exact.
#include "cairn/tune/frontier.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <limits>

#include "cairn/testing/tune_units.h"

namespace cairn::tune {
namespace {

using testing::any;
using testing::any_cap;
using testing::any_units;
using testing::every_plan;
using testing::plans_that_fit;

Frontier frontier_of(const std::vector<Unit>& units) {
  auto frontier = Frontier::make(units);
  RC_ASSERT(frontier.has_value());
  return *std::move(frontier);
}

TEST(Frontier, HoldsExactlyTheUndominatedPlans) {
  ASSERT_TRUE(rc::check([] {
    const std::vector<Unit> units = any_units();
    const Frontier frontier = frontier_of(units);
    std::vector<Cost> costs, best;
    for (const Allocation& plan : every_plan(units)) costs.push_back(plan.cost);
    for (const std::size_t i : pareto_front(costs)) best.push_back(costs[i]);
    RC_ASSERT(std::ranges::equal(frontier.points(), best));
    for (std::size_t p = 0; p < best.size(); ++p) {
      const Allocation plan = frontier.plan(p);
      RC_ASSERT(plan.cost == best[p]);
      RC_ASSERT(total_cost(units, plan.picks) == best[p]);
    }
  }));
}

TEST(Frontier, LeastErrorUnderACap) {
  ASSERT_TRUE(rc::check([] {
    const std::vector<Unit> units = any_units();
    const std::uint64_t cap = any_cap(units);
    const auto fitting = plans_that_fit(units, cap);
    const auto plan = frontier_of(units).least_error(cap);
    RC_ASSERT(plan.has_value() == !fitting.empty());
    if (plan) {
      RC_ASSERT(plan->cost == fitting.front().cost);
      RC_ASSERT(total_cost(units, plan->picks) == plan->cost);
    } else {
      RC_ASSERT(plan.error().code == ErrorCode::kOutOfBudget);
      RC_ASSERT(plan.error().message.find(std::to_string(fewest_bytes(units))) != std::string::npos);
    }
  }));
}

TEST(Frontier, FewestBytesUnderAnError) {
  ASSERT_TRUE(rc::check([] {
    const std::vector<Unit> units = any_units();
    const auto plans = every_plan(units);
    // An error that occurs, so that "no more than" is met with equality, or any other.
    const double max_error = *rc::gen::arbitrary<bool>() ? (*rc::gen::elementOf(plans)).cost.error : any(0, 600) / 3.0;
    std::uint64_t fewest = UINT64_MAX;
    for (const Allocation& plan : plans) {
      if (plan.cost.error <= max_error) fewest = std::min(fewest, plan.cost.bytes);
    }
    const auto plan = frontier_of(units).least_bytes(max_error);
    RC_ASSERT(plan.has_value() == (fewest != UINT64_MAX));
    if (plan) {
      RC_ASSERT(plan->cost.bytes == fewest);
      RC_ASSERT(plan->cost.error <= max_error);
      RC_ASSERT(total_cost(units, plan->picks) == plan->cost);
    } else {
      RC_ASSERT(plan.error().code == ErrorCode::kInvalidArgument);
    }
  }));
}

TEST(BestPlans, AreTheNextBestByAnyMeasure) {
  ASSERT_TRUE(rc::check([] {
    const std::vector<Unit> units = pruned(any_units());
    const std::uint64_t cap = any_cap(units);
    const auto fitting = plans_that_fit(units, cap);
    const std::size_t count = any<std::size_t>(1, 40);
    const auto plans = best_plans(frontier_of(units), cap, {.count = count});
    RC_ASSERT(plans.has_value() == !fitting.empty());
    if (!plans) return;
    RC_ASSERT(plans->size() == std::min(count, fitting.size()));
    for (std::size_t i = 0; i < plans->size(); ++i) {
      const Allocation& plan = (*plans)[i];
      RC_ASSERT(plan.cost.error == fitting[i].cost.error);
      RC_ASSERT(plan.cost.bytes <= cap);
      RC_ASSERT(total_cost(units, plan.picks) == plan.cost);
      for (std::size_t j = 0; j < i; ++j) RC_ASSERT((*plans)[j].picks != plan.picks);
    }
  }));
}

TEST(BestPlans, DifferAsMuchAsAsked) {
  ASSERT_TRUE(rc::check([] {
    const std::vector<Unit> units = pruned(any_units());
    const std::size_t differ_in = any<std::size_t>(2, 4);
    // Taking the next best that differs enough, by hand.
    std::vector<Allocation> all = *best_plans(frontier_of(units), UINT64_MAX, {.count = 2000}), expected;
    const auto far = [&](const Allocation& a, const Allocation& b) {
      std::size_t different = 0;
      for (std::size_t u = 0; u < units.size(); ++u) different += a.picks[u] != b.picks[u];
      return different >= differ_in;
    };
    for (const Allocation& plan : all) {
      if (std::ranges::all_of(expected, [&](const Allocation& e) { return far(e, plan); })) expected.push_back(plan);
    }
    const auto plans = best_plans(frontier_of(units), UINT64_MAX, {.count = 2000, .differ_in = differ_in});
    RC_ASSERT(*plans == expected);
  }));
}

// Llama-3.1-8B's 64 units with eight choices each: no time to speak of, and no more points than multiples of the step.
TEST(Frontier, ManyUnits) {
  std::vector<Unit> units(64);
  std::uint64_t span = 0;
  for (std::size_t u = 0; u < units.size(); ++u) {
    units[u].name = "unit " + std::to_string(u);
    for (std::uint64_t c = 0; c < 8; ++c) {
      const double error = (1 + std::sin(double(u))) * std::pow(4.0, -double(c)) * (1 + 0.1 * std::cos(double(u * c)));
      units[u].choices.push_back({"c" + std::to_string(c), 16384 + 2048 * c * (c + 1), 0, error});
    }
    span += 2048 * 7 * 8;
  }
  const auto frontier = Frontier::make(units);
  ASSERT_TRUE(frontier);
  EXPECT_LE(frontier->points().size(), span / 4096 + 1);
  const std::uint64_t cap = 64 * 40000;
  const auto best = best_plans(*frontier, cap, {.count = 10});
  ASSERT_TRUE(best);
  EXPECT_EQ(best->front(), *frontier->least_error(cap));
  EXPECT_LE(best->front().cost.bytes, cap);
  EXPECT_EQ(frontier->least_bytes(best->front().cost.error)->cost, best->front().cost);
}

TEST(Frontier, SaysWhatIsWrong) {
  const std::vector<Unit> units = {{"a", {{"x", 10, 1, 2}, {"y", 20, 2, 1}}}, {"b", {{"x", 10, 1, 0.5}}}};
  const Frontier frontier = frontier_of(units);
  EXPECT_EQ(frontier.least_error(19).error().message, "no plan fits into 19 bytes; the smallest needs 20");
  EXPECT_TRUE(frontier.least_error(20));
  EXPECT_EQ(frontier.least_bytes(1.25).error().message, "no plan has an error of 1.25 or less; the best has 1.5");
  EXPECT_TRUE(frontier.least_bytes(1.5));
  EXPECT_TRUE(frontier.least_bytes(std::numeric_limits<double>::infinity()));
  EXPECT_FALSE(frontier.least_bytes(std::numeric_limits<double>::quiet_NaN()));
  EXPECT_EQ(best_plans(frontier, 19).error().code, ErrorCode::kOutOfBudget);
  EXPECT_FALSE(Frontier::make({}));
}

// Powers of two: every subset is a plan worth having.
TEST(Frontier, RefusesToGrowWithoutEnd) {
  std::vector<Unit> units;
  for (std::uint64_t u = 0; u < 40; ++u) {
    const double error = std::ldexp(1.0, int(u));
    units.push_back({"u", {{"none", 0, 0, error}, {"all", std::uint64_t{1} << u, 0, 0}}});
  }
  const auto frontier = Frontier::make(units, 10'000);
  ASSERT_FALSE(frontier);
  EXPECT_EQ(frontier.error().code, ErrorCode::kOutOfBudget);
  EXPECT_THAT(frontier.error().message, ::testing::HasSubstr("more than 10000 partial plans"));
}

}  // namespace
}  // namespace cairn::tune
