// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cmath>
#include <limits>

#include "cairn/tune/plan_search.h"

namespace cairn::tune {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(Fitness, RankCountsTheLayersAbove) {
  ASSERT_TRUE(rc::check([] {
    std::vector<Cost> costs;
    for (int i = *rc::gen::inRange(0, 30); i > 0; --i) {
      costs.push_back({*rc::gen::inRange<std::uint64_t>(0, 8), double(*rc::gen::inRange(-8, 8))});
    }
    // The definition: a rank is one more than the greatest rank among those that dominate.
    const std::vector<Fitness> of = fitness(costs);
    for (std::size_t i = 0; i < costs.size(); ++i) {
      std::size_t rank = 0;
      for (std::size_t j = 0; j < costs.size(); ++j) {
        if (dominates(costs[j], costs[i])) rank = std::max(rank, of[j].rank + 1);
      }
      RC_ASSERT(of[i].rank == rank);
      RC_ASSERT(of[i].crowding >= 0);
    }
  }));
}

TEST(Fitness, CrowdingByHand) {
  const std::vector<Cost> costs = {{10, 0}, {0, 10}, {5, 4}, {2, 8}, {2, 8}, {9, 9}};
  const std::vector<Fitness> of = fitness(costs);
  EXPECT_EQ(of[0].crowding, kInfinity);
  EXPECT_EQ(of[1].crowding, kInfinity);
  EXPECT_DOUBLE_EQ(of[2].crowding, 0.8 + 0.8);
  EXPECT_DOUBLE_EQ(of[3].crowding, 0.2 + 0.2);  // up to its twin
  EXPECT_EQ(of[4].crowding, 0);
  EXPECT_EQ(of[5].rank, 1u);
  EXPECT_EQ(fittest(costs, 4), (std::vector<std::size_t>{0, 1, 2, 3}));
  EXPECT_EQ(fittest(costs, 9).size(), 6u);
  EXPECT_TRUE(fittest({}, 3).empty());
}

TEST(Fitness, HugeErrorsDoNotMakeNan) {
  const double huge = std::numeric_limits<double>::max();
  for (const Fitness& fit : fitness(std::vector<Cost>{{0, huge}, {1, 0}, {UINT64_MAX, -huge}})) {
    EXPECT_FALSE(std::isnan(fit.crowding));
  }
}

}  // namespace
}  // namespace cairn::tune
