// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/speed.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <vector>

#include "cairn/policy/policy.h"
#include "cairn/testing/tiny_engine.h"
#include "cairn/testing/tiny_model.h"

namespace cairn {
namespace {

std::unique_ptr<Engine> small_engine() {
  return load_tiny(TinyModel{}.builder().build(), {.threads = 1, .reuse = false}).value();
}

TEST(Speed, SpreadHasTheMiddleAndTheEnds) {
  const Spread odd = spread_of({3, 1, 2});
  EXPECT_EQ(odd.median, 2);
  EXPECT_EQ(odd.min, 1);
  EXPECT_EQ(odd.max, 3);
  EXPECT_EQ(spread_of({4, 1, 2, 3}).median, 2.5);
  EXPECT_EQ(spread_of({7}).median, 7);
}

TEST(Speed, OneRateForEachRepetition) {
  const auto engine = small_engine();
  std::size_t filled = 0;
  SpeedSettings settings{.prefill = 16, .decode = 4, .repeat = 3};
  settings.on_fill = [&](std::size_t done, std::size_t total) {
    EXPECT_EQ(total, 70u);
    filled = done;
  };
  const auto rates = measure_depth(*engine, 70, settings);
  ASSERT_TRUE(rates) << rates.error().message;
  EXPECT_EQ(filled, 70u);
  EXPECT_EQ(rates->depth, 70u);
  EXPECT_EQ(rates->prefill.size(), 3u);
  EXPECT_EQ(rates->decode.size(), 3u);
  for (const double rate : rates->prefill) EXPECT_GT(rate, 0);
  for (const double rate : rates->decode) EXPECT_GT(rate, 0);
}

TEST(Speed, PoliciesTakeTurnsOnOneFill) {
  const auto engine = load_tiny(TinyModel{}.builder().build(), {.threads = 1}).value();
  std::vector<std::size_t> filled;
  SpeedSettings settings{.prefill = 8, .decode = 2, .repeat = 2};
  settings.on_fill = [&](std::size_t done, std::size_t total) {
    if (done == total) filled.push_back(total);
  };
  const std::optional<PolicySpec> policies[] = {std::nullopt, *parse_policy("quest+keep=0.5"),
                                                *parse_policy("keydiff+keep=0.5")};
  const auto rates = measure_policies(*engine, 200, settings, policies);
  ASSERT_TRUE(rates) << rates.error().message;
  EXPECT_EQ(filled, (std::vector<std::size_t>{200, 8, 8}));  // the others take the full blocks of the first
  ASSERT_EQ(rates->size(), 3u);
  for (const DepthRates& each : *rates) {
    EXPECT_EQ(each.depth, 200u);
    EXPECT_EQ(each.prefill.size(), 2u);
    EXPECT_EQ(each.decode.size(), 2u);
  }
}

TEST(Speed, WhatIsNotAskedForIsNotMeasured) {
  const auto engine = small_engine();
  EXPECT_TRUE(measure_depth(*engine, 0, {.prefill = 0, .decode = 2, .repeat = 1})->prefill.empty());
  EXPECT_TRUE(measure_depth(*engine, 0, {.prefill = 2, .decode = 0, .repeat = 1})->decode.empty());
}

TEST(Speed, DecodeMayBeRepeatedAtTheCallersPace) {
  const auto engine = small_engine();
  auto paced = PacedDecode::prepare(*engine, 250, {.decode = 5});
  ASSERT_TRUE(paced) << paced.error().message;
  for (int i = 0; i < 4; ++i) {  // each on a fork: 250 and 6 tokens just fit the context
    const auto rate = paced->measure();
    ASSERT_TRUE(rate) << rate.error().message;
    EXPECT_GT(*rate, 0);
  }
  EXPECT_EQ(PacedDecode::prepare(*engine, 251, {.decode = 5}).error().code, ErrorCode::kTooLong);
}

}  // namespace
}  // namespace cairn
