// SPDX-License-Identifier: Apache-2.0
#include "cairn/tune/plan_search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cmath>
#include <set>
#include <utility>

#include "cairn/testing/tune_units.h"
#include "cairn/tune/frontier.h"

namespace cairn::tune {
namespace {

using testing::any;
using testing::any_cap;
using testing::any_units;
using testing::plans_that_fit;

using ::testing::HasSubstr;

// `units` units of five choices, as KVTuner's clusters have.
std::vector<Unit> clusters(std::size_t units) {
  std::vector<Unit> made(units);
  for (std::size_t u = 0; u < units; ++u) {
    made[u].name = "cluster " + std::to_string(u);
    for (std::size_t c = 0; c < 5; ++c) {
      const double error = (1.0 + double(u * u % 7)) * std::pow(5.0, -double(c));
      made[u].choices.push_back({"c" + std::to_string(c), (u % 3 + 1) * 64 * (c + 2), 0, error});
    }
  }
  return made;
}

// What is predicted, bent: additive up to a factor that depends on the whole, as measured losses are.
double measured(const std::vector<Unit>& units, std::span<const std::size_t> picks) {
  const double sum = total_cost(units, picks).error;
  return sum + 0.3 * std::sqrt(sum);
}

std::vector<Cost> front_costs(const SearchResult& result) {
  std::vector<Cost> costs;
  for (const std::size_t i : result.front) costs.push_back(result.judged[i].cost);
  return costs;
}

std::vector<Cost> true_front(const std::vector<Unit>& units, std::uint64_t cap) {
  std::vector<Cost> costs, best;
  for (const Allocation& plan : plans_that_fit(units, cap)) {
    costs.push_back({plan.cost.bytes, measured(units, plan.picks)});
  }
  for (const std::size_t i : pareto_front(costs)) best.push_back(costs[i]);
  return best;
}

TEST(PlanSearch, JudgesAllOfASmallSpace) {
  ASSERT_TRUE(rc::check([] {
    const std::vector<Unit> units = pruned(any_units(4, 4));
    const std::uint64_t cap = any_cap(units);
    const auto fitting = plans_that_fit(units, cap);
    const auto judge = [&](std::span<const std::size_t> picks) -> Result<double> { return measured(units, picks); };
    const auto result = search_plans(units, judge, {.max_bytes = cap, .max_judged = 256});
    RC_ASSERT(result.has_value() == !fitting.empty());
    if (!result) return;
    RC_ASSERT(result->exhaustive && !result->cancelled);
    RC_ASSERT(result->judged.size() == fitting.size());
    RC_ASSERT(front_costs(*result) == true_front(units, cap));
  }));
}

// What is asked of the judge and of the result, whatever the space and the budget.
TEST(PlanSearch, JudgesNothingTwiceAndNothingTooLarge) {
  ASSERT_TRUE(rc::check([] {
    const std::vector<Unit> units = pruned(any_units());
    const std::uint64_t cap = fewest_bytes(units) + any_cap(units);
    const std::size_t budget = any<std::size_t>(1, 60);
    std::set<Picks> seen;
    const auto judge = [&](std::span<const std::size_t> picks) -> Result<double> {
      RC_ASSERT(seen.insert({picks.begin(), picks.end()}).second);
      RC_ASSERT(total_cost(units, picks).bytes <= cap);
      return measured(units, picks);
    };
    SearchOptions options{.max_bytes = cap, .max_judged = budget, .population = 4};
    options.seed = *rc::gen::arbitrary<std::uint64_t>();
    const auto result = search_plans(units, judge, options);
    RC_ASSERT(result.has_value());
    RC_ASSERT(result->judged.size() == std::min(budget, plans_that_fit(units, cap).size()));
    RC_ASSERT(seen.size() == result->judged.size());
    RC_ASSERT(seen.contains(Picks(units.size(), 0)));
    for (const Allocation& plan : result->judged) RC_ASSERT(plan.cost.error == measured(units, plan.picks));
  }));
}

// By the area that a front leaves above itself, how much of it is reached even where its points are missed.
double area_above(const std::vector<Cost>& front, std::uint64_t cap, double worst) {
  double area = 0;
  for (std::size_t i = 0; i < front.size(); ++i) {
    const std::uint64_t until = i + 1 < front.size() ? front[i + 1].bytes : cap;
    area += double(until - front[i].bytes) * (worst - front[i].error);
  }
  return area;
}

// 3125 plans, of which a fifth may be judged: random draws would find a fifth of the front.
TEST(PlanSearch, FindsTheFrontOfALargerSpace) {
  const std::vector<Unit> units = clusters(5);
  for (const std::uint64_t cap : {std::uint64_t{UINT64_MAX}, std::uint64_t{2400}}) {
    const std::vector<Cost> truth = true_front(units, cap);
    double all_found = 0;
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
      const auto judge = [&](std::span<const std::size_t> picks) -> Result<double> { return measured(units, picks); };
      const auto result =
          search_plans(units, judge, {.max_bytes = cap, .max_judged = 600, .population = 40, .seed = seed});
      ASSERT_TRUE(result);
      EXPECT_FALSE(result->exhaustive);
      EXPECT_EQ(result->judged.size(), 600u);
      const std::vector<Cost> front = front_costs(*result);
      std::size_t found = 0;
      for (const Cost& cost : truth) found += std::ranges::count(front, cost);
      all_found += double(found) / double(truth.size()) / 10;
      const double worst = truth.front().error;
      const std::uint64_t right = truth.back().bytes;
      EXPECT_GT(area_above(front, right, worst) / area_above(truth, right, worst), 0.995) << "seed " << seed;
    }
    EXPECT_GT(all_found, 0.8) << "of the front, with a cap of " << cap;
  }
}

// With room for nearly all plans the whole front is found: nothing is out of reach.
TEST(PlanSearch, FindsTheWholeFrontGivenTime) {
  const std::vector<Unit> units = clusters(4);
  const auto judge = [&](std::span<const std::size_t> picks) -> Result<double> { return measured(units, picks); };
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    const auto result = search_plans(units, judge, {.max_judged = 600, .seed = seed});
    ASSERT_TRUE(result);
    EXPECT_FALSE(result->exhaustive);
    EXPECT_EQ(front_costs(*result), true_front(units, UINT64_MAX)) << "seed " << seed;
  }
}

// Every plan is on the front, and the few that survive have no unknown neighbours for long.
TEST(PlanSearch, DoesNotStopWhereNeighboursAreKnown) {
  std::vector<Unit> units(1);
  for (std::uint64_t c = 0; c < 400; ++c) units[0].choices.push_back({"c", c, 0, 400 - double(c)});
  const auto judge = [&](std::span<const std::size_t> picks) -> Result<double> { return measured(units, picks); };
  const auto result = search_plans(units, judge, {.max_judged = 399, .population = 4});
  ASSERT_TRUE(result);
  EXPECT_EQ(result->front.size(), 399u);
}

TEST(PlanSearch, RepeatsItself) {
  const std::vector<Unit> units = clusters(6);
  std::vector<Picks> calls;
  const auto judge = [&](std::span<const std::size_t> picks) -> Result<double> {
    calls.emplace_back(picks.begin(), picks.end());
    return measured(units, picks);
  };
  ASSERT_TRUE(search_plans(units, judge, {.seed = 7}));
  const std::vector<Picks> first = std::exchange(calls, {});
  ASSERT_TRUE(search_plans(units, judge, {.seed = 7}));
  EXPECT_EQ(first, calls);
  calls.clear();
  ASSERT_TRUE(search_plans(units, judge, {.seed = 8}));
  EXPECT_NE(first, calls);
}

TEST(PlanSearch, BeginsWithWhatIsPredicted) {
  const std::vector<Unit> units = clusters(6);
  const std::uint64_t cap = 3000;
  const Allocation best = *Frontier::make(units)->least_error(cap);
  const auto judge = [&](std::span<const std::size_t> picks) -> Result<double> { return measured(units, picks); };
  const auto result =
      search_plans(units, judge, {.max_bytes = cap, .max_judged = 10, .first = {best.picks, Picks(6, 4)}});
  ASSERT_TRUE(result);
  EXPECT_EQ(result->judged[1].picks, best.picks);
  EXPECT_EQ(result->judged[result->front.back()].picks, best.picks);
}

TEST(PlanSearch, StopsWithTheJudge) {
  const std::vector<Unit> units = clusters(6);
  int calls = 0;
  const auto stopping = [&](ErrorCode code, int after) {
    return [&calls, code, after](std::span<const std::size_t>) -> Result<double> {
      if (++calls > after) return fail(code, "stopped");
      return calls;
    };
  };
  const auto cancelled = search_plans(units, stopping(ErrorCode::kCancelled, 7), {});
  ASSERT_TRUE(cancelled);
  EXPECT_TRUE(cancelled->cancelled);
  EXPECT_EQ(cancelled->judged.size(), 7u);
  EXPECT_FALSE(cancelled->front.empty());
  calls = 0;
  EXPECT_EQ(search_plans(units, stopping(ErrorCode::kCancelled, 0), {}).error().code, ErrorCode::kCancelled);
  calls = 0;
  EXPECT_EQ(search_plans(units, stopping(ErrorCode::kIo, 7), {}).error().message, "stopped");
  EXPECT_EQ(calls, 8);
}

TEST(PlanSearch, SaysWhatIsWrong) {
  const std::vector<Unit> units = clusters(3);
  const auto refusal = [](const std::vector<Unit>& of, const SearchOptions& options, double loss = 1) {
    const auto result = search_plans(
        of, [&](std::span<const std::size_t>) -> Result<double> { return loss; }, options);
    return result ? Error{ErrorCode::kInternal, "no error"} : result.error();
  };
  EXPECT_EQ(refusal(units, {.max_bytes = 767}).message, "no plan fits into 767 bytes; the smallest needs 768");
  EXPECT_EQ(refusal(units, {.max_bytes = 767}).code, ErrorCode::kOutOfBudget);
  for (const double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    EXPECT_THAT(refusal(units, {}, bad).message, HasSubstr("the measured loss of plan 0 0 0 is not a finite number"));
  }
  EXPECT_THAT(refusal(units, {.max_judged = 0}).message, HasSubstr("at least one"));
  EXPECT_THAT(refusal(units, {.population = 3}).message, HasSubstr("at least 4"));
  EXPECT_THAT(refusal(units, {.first = {{0, 0}}}).message, HasSubstr("picks"));
  EXPECT_THAT(refusal(units, {.first = {{0, 0, 5}}}).message, HasSubstr("picks"));
  EXPECT_THAT(refusal({}, {}).message, HasSubstr("no units"));
  std::vector<Unit> unsorted = units;
  std::swap(unsorted[1].choices[0], unsorted[1].choices[1]);
  EXPECT_THAT(refusal(unsorted, {}).message, HasSubstr("the choices of cluster 1 are not by ascending bytes"));
}

}  // namespace
}  // namespace cairn::tune
