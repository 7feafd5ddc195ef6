// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/token_scores.h"

#include <gtest/gtest.h>

#include <cmath>

namespace cairn {
namespace {

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
