// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/statistics.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>

#include "cairn/base/random.h"

namespace cairn {
namespace {

// Values of the published formula, worked out by hand.
TEST(Statistics, WilsonIntervals) {
  const Estimate eight = wilson(8, 10);
  EXPECT_NEAR(eight.value, 0.8, 1e-12);
  EXPECT_NEAR(eight.low, 0.4902, 1e-4);
  EXPECT_NEAR(eight.high, 0.9433, 1e-4);
  const Estimate none = wilson(0, 10);
  EXPECT_EQ(none.low, 0);
  EXPECT_NEAR(none.high, 0.2775, 1e-4);
  EXPECT_EQ(wilson(10, 10).high, 1);
  EXPECT_EQ(wilson(0, 0).high, 1);
}

std::vector<Estimate> mean_of(const std::vector<double>& groups, std::uint64_t seed) {
  return bootstrap(groups.size(), 1, seed, [&](std::span<const std::size_t> drawn, std::span<double> out) {
    out[0] = 0;
    for (const std::size_t group : drawn) out[0] += groups[group] / static_cast<double>(drawn.size());
  });
}

TEST(Statistics, BootstrapIntervalsAreThoseOfTheMean) {
  SeededRandom random(7);
  std::vector<double> groups(400);
  for (double& group : groups) group = random.unit();
  const Estimate mean = mean_of(groups, 1).front();
  const double half = 1.96 * std::sqrt(1.0 / 12 / 400);  // standard deviation of a uniform number
  EXPECT_NEAR(mean.high - mean.low, 2 * half, 0.3 * half);
  EXPECT_LT(mean.low, mean.value);
  EXPECT_GT(mean.high, mean.value);
}

TEST(Statistics, BootstrapRepeatsItselfAndKnowsWhenItKnowsNothing) {
  EXPECT_EQ(mean_of({1, 2, 3}, 5).front().low, mean_of({1, 2, 3}, 5).front().low);
  EXPECT_EQ(mean_of({4}, 1).front().high, 4);
  EXPECT_EQ(mean_of({2, 2, 2}, 1).front().low, 2);
}

LogProbabilities of(std::span<const float> logits) {
  LogProbabilities result;
  result.assign(logits);
  return result;
}

TEST(TokenScores, ProbabilitiesSumToOneHoweverLargeTheLogits) {
  const std::vector<float> logits = {900, 901, 897, -1000};
  const LogProbabilities p = of(logits);
  double sum = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) sum += std::exp(p[i]);
  EXPECT_NEAR(sum, 1, 1e-12);
  EXPECT_EQ(p.likeliest(), 1u);
}

TEST(TokenScores, DivergenceOfTwoKnownDistributions) {
  const std::vector<float> a = {std::log(0.5f), std::log(0.25f), std::log(0.25f)};
  const std::vector<float> b = {std::log(0.25f), std::log(0.25f), std::log(0.5f)};
  EXPECT_NEAR(of(a).divergence_to(of(b)), 0.25 * std::log(2.0), 1e-6);
  const std::vector<float> shifted = {a[0] + 8, a[1] + 8, a[2] + 8};  // the same distribution
  EXPECT_NEAR(of(a).divergence_to(of(shifted)), 0, 1e-6);
}

TEST(TokenScores, EqualLogitsDivergeByExactlyNothing) {
  const std::vector<float> a = {0.1f, -3.7f, 12.25f, 5e-7f};
  EXPECT_EQ(of(a).divergence_to(of(std::vector<float>(a))), 0.0);
}

}  // namespace
}  // namespace cairn
