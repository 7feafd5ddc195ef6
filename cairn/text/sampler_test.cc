// SPDX-License-Identifier: Apache-2.0
#include "cairn/text/sampler.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

namespace cairn {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr SamplerOptions kOff{.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0};

Sampler make(const SamplerOptions& options) {
  return *Sampler::make(options);
}

std::set<TokenId> seen(SamplerOptions options, const std::vector<float>& logits, int draws = 4000) {
  Sampler sampler = make(options);
  std::set<TokenId> ids;
  for (int i = 0; i < draws; ++i) ids.insert(*sampler.sample(logits));
  return ids;
}

rc::Gen<std::vector<float>> any_logits() {  // few values, so that ties are common
  return rc::gen::nonEmpty(rc::gen::container<std::vector<float>>(
      rc::gen::map(rc::gen::inRange(-12, 12), [](int i) { return static_cast<float>(i) * 0.5F; })));
}

TEST(SamplerRandom, IsTheSameEverywhere) {
  SamplerRandom random(42);
  const double first = random.next_unit();
  EXPECT_EQ(first, 0x1.5780b2e0c2ec0p-4) << std::hexfloat << first;
  SamplerRandom again(42);
  EXPECT_EQ(again.next_unit(), first);
  SamplerRandom other(43);
  EXPECT_NE(other.next_unit(), first);
  double sum = 0;
  for (int i = 0; i < 100'000; ++i) {
    const double unit = random.next_unit();
    ASSERT_GE(unit, 0);
    ASSERT_LT(unit, 1);
    sum += unit;
  }
  EXPECT_NEAR(sum / 100'000, 0.5, 0.01);
}

TEST(Sampler, GreedyTakesTheFirstOfTheBest) {
  EXPECT_TRUE(rc::check([] {
    const auto logits = *any_logits();
    Sampler sampler = make({.temperature = 0});
    RC_ASSERT(*sampler.sample(logits) == std::ranges::max_element(logits) - logits.begin());
  }));
}

TEST(Sampler, OneSeedOneSequence) {
  EXPECT_TRUE(rc::check([](std::uint64_t seed) {
    const auto logits = *any_logits();
    Sampler a = make({.seed = seed});
    Sampler b = make({.seed = seed});
    for (int i = 0; i < 20; ++i) RC_ASSERT(*a.sample(logits) == *b.sample(logits));
  }));
  const std::vector<float> flat(1000, 0.0F);
  Sampler a = make({.temperature = 1, .top_k = 0, .seed = 1});
  Sampler b = make({.temperature = 1, .top_k = 0, .seed = 2});
  EXPECT_NE(std::pair(*a.sample(flat), *a.sample(flat)), std::pair(*b.sample(flat), *b.sample(flat)));
}

TEST(Sampler, EachFilterKeepsWhatItSays) {
  const std::vector<float> logits = {std::log(0.1F), std::log(0.4F), std::log(0.2F), std::log(0.1F), std::log(0.2F)};
  EXPECT_EQ(seen(kOff, logits), (std::set<TokenId>{0, 1, 2, 3, 4}));
  SamplerOptions options = kOff;
  options.top_k = 2;
  EXPECT_EQ(seen(options, logits), (std::set<TokenId>{1, 2}));  // 2 before 4: the lower id of equals
  options.top_k = 4;
  EXPECT_EQ(seen(options, logits), (std::set<TokenId>{0, 1, 2, 4}));
  options = kOff;
  options.top_p = 0.5F;
  EXPECT_EQ(seen(options, logits), (std::set<TokenId>{1, 2}));
  options.top_p = 0.75F;
  EXPECT_EQ(seen(options, logits), (std::set<TokenId>{1, 2, 4}));
  options.top_p = 1e-6F;
  EXPECT_EQ(seen(options, logits), (std::set<TokenId>{1}));
  options = kOff;
  options.min_p = 0.4F;
  EXPECT_EQ(seen(options, logits), (std::set<TokenId>{1, 2, 4}));
  options.min_p = 1.0F;
  EXPECT_EQ(seen(options, logits), (std::set<TokenId>{1}));
}

TEST(Sampler, DrawsByProbabilityAtItsTemperature) {
  const std::vector<float> logits = {0.0F, 1.0F, -kInf, 2.0F};
  for (const float temperature : {0.5F, 1.0F, 2.0F}) {
    SamplerOptions options = kOff;
    options.temperature = temperature;
    Sampler sampler = make(options);
    std::vector<int> count(4);
    constexpr int kDraws = 40'000;
    for (int i = 0; i < kDraws; ++i) ++count[*sampler.sample(logits)];
    double total = 0;
    for (const float logit : logits) total += std::exp(logit / temperature);
    for (std::size_t i = 0; i < logits.size(); ++i) {
      EXPECT_NEAR(count[i], kDraws * std::exp(logits[i] / temperature) / total, 4 * std::sqrt(kDraws) / 2) << i;
    }
  }
}

TEST(Sampler, NeverLeavesTheFilteredSet) {
  EXPECT_TRUE(rc::check([](std::uint64_t seed) {
    const auto logits = *any_logits();
    SamplerOptions options = kOff;
    options.seed = seed;
    options.top_k = *rc::gen::inRange(0, 8);
    options.top_p = static_cast<float>(*rc::gen::inRange(1, 101)) / 100.0F;
    options.min_p = static_cast<float>(*rc::gen::inRange(0, 101)) / 100.0F;
    Sampler sampler = make(options);
    const TokenId id = *sampler.sample(logits);
    RC_ASSERT(id >= 0 && static_cast<std::size_t>(id) < logits.size());
    const auto better = std::ranges::count_if(logits, [&](float l) { return l > logits[id]; });
    RC_ASSERT(options.top_k == 0 || better < options.top_k);
    const float best = *std::ranges::max_element(logits);
    RC_ASSERT(std::exp(logits[id] - best) >= options.min_p * 0.999F);
  }));
}

TEST(Sampler, RepetitionPenaltyForgetsOutsideItsWindow) {
  const std::vector<float> logits = {1.0F, 0.9F, -1.0F};
  SamplerOptions options{.temperature = 0, .repetition_penalty = 2, .repetition_window = 2};
  Sampler sampler = make(options);
  EXPECT_EQ(*sampler.sample(logits), 0);
  sampler.accept(0);
  sampler.accept(0);
  EXPECT_EQ(*sampler.sample(logits), 1);
  sampler.accept(2);
  EXPECT_EQ(*sampler.sample(logits), 1);  // one of the two is still inside
  sampler.accept(2);
  EXPECT_EQ(*sampler.sample(logits), 0);
  sampler.accept(1'000'000);  // outside the vocabulary: no matter
  EXPECT_EQ(*sampler.sample(logits), 0);
  Sampler negative = make(options);
  negative.accept(0);
  EXPECT_EQ(*negative.sample(std::vector<float>{-1.0F, -1.5F}), 1);
}

TEST(Sampler, BadLogitsAreErrors) {
  for (const float temperature : {0.0F, 1.0F}) {
    Sampler sampler = make({.temperature = temperature});
    EXPECT_EQ(sampler.sample({}).error().code, ErrorCode::kInvalidArgument);
    for (const std::vector<float>& logits : {std::vector<float>{0, NAN, 1}, {0, kInf}, {-kInf, -kInf}}) {
      EXPECT_EQ(sampler.sample(logits).error().code, ErrorCode::kCorrupt);
    }
    EXPECT_EQ(*sampler.sample(std::vector<float>{-kInf, -3e38F, -kInf}), 1);
  }
}

TEST(Sampler, BadOptionsAreNamed) {
  const std::pair<SamplerOptions, const char*> cases[] = {
      {{.temperature = -1}, "temperature"},
      {{.temperature = NAN}, "temperature"},
      {{.temperature = kInf}, "temperature"},
      {{.top_k = -1}, "top-k"},
      {{.top_p = 0}, "top-p"},
      {{.top_p = 1.5F}, "top-p"},
      {{.min_p = -0.1F}, "min-p"},
      {{.min_p = NAN}, "min-p"},
      {{.repetition_penalty = 0}, "repetition penalty"},
      {{.repetition_window = -1}, "repetition window"},
  };
  for (const auto& [options, name] : cases) {
    const auto made = Sampler::make(options);
    ASSERT_FALSE(made) << name;
    EXPECT_EQ(made.error().code, ErrorCode::kInvalidArgument);
    EXPECT_TRUE(made.error().message.starts_with(name)) << made.error().message;
  }
}

}  // namespace
}  // namespace cairn
