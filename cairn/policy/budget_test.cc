// SPDX-License-Identifier: Apache-2.0
// Budgets: their sums and bounds under every rule, and what each rule promises.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <tuple>
#include <vector>

#include "cairn/policy/retention.h"
#include "cairn/policy/scorer.h"
#include "cairn/testing/layer_scores.h"

namespace cairn {
namespace {

using Budgets = std::vector<std::vector<std::size_t>>;
using testing::LayersLike;
using testing::occupied;
using testing::random_layer;
using testing::random_layers;

PolicySpec policy_with(BudgetRule rule, double keep, bool per_head = true) {
  PolicySpec policy;
  policy.budget = rule;
  policy.keep = keep;
  policy.per_head = per_head;
  return policy;
}

std::size_t sum_of(const Budgets& budgets) {
  std::size_t sum = 0;
  for (const auto& heads : budgets) sum = std::accumulate(heads.begin(), heads.end(), sum);
  return sum;
}

constexpr BudgetRule kRules[] = {BudgetRule::kUniform, BudgetRule::kPyramid, BudgetRule::kPrefix, BudgetRule::kAda,
                                 BudgetRule::kEntropy, BudgetRule::kGlobal,  BudgetRule::kSlope};

TEST(Budgets, AddUpToWhatKeepSays) {
  SeededRandom random(1, "budget");
  for (int round = 0; round < 400; ++round) {
    const LayersLike like{.layers = 1 + random.below(6),
                          .kv_heads = static_cast<std::uint32_t>(1 + random.below(4)),
                          .slots = 20 + random.below(200),
                          .ties = static_cast<int>(random.below(3)),
                          .least = random.unit() - 0.7,
                          .tail = random.below(10)};
    const std::vector<LayerScores> layers = random_layers(random, like);
    for (const BudgetRule rule : kRules) {
      PolicySpec policy = policy_with(rule, random.unit(), rule == BudgetRule::kAda || random.below(2) == 0);
      policy.recent = static_cast<std::uint32_t>(random.below(6));
      policy.unit = random.below(3) == 0 ? 8 : 1;
      const Budgets budgets = budgets_of(policy, layers);
      const std::size_t fixed = 4 + std::max<std::size_t>(policy.recent, like.tail);
      const auto base = static_cast<std::size_t>(std::llround(policy.keep * static_cast<double>(like.slots)));
      ASSERT_EQ(budgets.size(), like.layers);
      for (const auto& heads : budgets) {
        ASSERT_EQ(heads.size(), like.kv_heads);
        for (const std::size_t budget : heads) ASSERT_TRUE(budget >= fixed && budget <= like.slots);
      }
      ASSERT_EQ(sum_of(budgets), std::max(base, fixed) * like.layers * like.kv_heads)
          << budget_name(rule) << " round " << round;
    }
  }
}

TEST(Budgets, StayWithinWhatThereIsWhenHeadsHaveHoles) {
  SeededRandom random(2, "budget");
  for (int round = 0; round < 200; ++round) {
    const std::vector<LayerScores> layers =
        random_layers(random, {.layers = 4, .kv_heads = 3, .slots = 80, .empty = random.unit() * 0.9});
    for (const BudgetRule rule : kRules) {
      const Budgets budgets = budgets_of(policy_with(rule, random.unit()), layers);
      for (std::size_t l = 0; l < 4; ++l) {
        for (std::size_t head = 0; head < 3; ++head) {
          std::size_t most = 0;
          for (std::size_t other = 0; other < 3; ++other) most = std::max(most, occupied(layers[l], other));
          ASSERT_LE(budgets[l][head], rule == BudgetRule::kUniform ? occupied(layers[l], head) : most);
        }
      }
    }
  }
}

TEST(Budgets, CountTokensThatWentBefore) {
  SeededRandom random(3, "budget");
  LayerScores layer = random_layer(random, {.kv_heads = 1, .slots = 50});
  for (std::size_t slot = 25; slot < 50; ++slot) layer.positions[slot] += 150;  // 200 tokens, of which 150 went
  EXPECT_EQ(budgets_of(policy_with(BudgetRule::kUniform, 0.1), std::span(&layer, 1)), (Budgets{{20}}));
  EXPECT_EQ(budgets_of(policy_with(BudgetRule::kUniform, 0.5), std::span(&layer, 1)), (Budgets{{50}}));
}

TEST(Budgets, AreOfTheDecodedTokensWhereThePromptStays) {
  SeededRandom random(4, "budget");
  const LayerScores layer = random_layer(random, {.kv_heads = 1, .slots = 100, .before = 60});
  EXPECT_EQ(budgets_of(policy_with(BudgetRule::kUniform, 0.25), std::span(&layer, 1)), (Budgets{{70}}));
}

TEST(PyramidBudgets, FallLinearlyToATwentieth) {
  SeededRandom random(5, "pyramid");
  const std::vector<LayerScores> layers = random_layers(random, {.layers = 11, .kv_heads = 2, .slots = 1004});
  const Budgets budgets = budgets_of(policy_with(BudgetRule::kPyramid, 0.25), layers);  // 251: 247 beyond the sinks
  const double least = 247 / 20.0, greatest = 2 * 247 - least;
  for (std::size_t l = 0; l < 11; ++l) {
    const double wanted = 4 + greatest - static_cast<double>(l) * (greatest - least) / 10;
    EXPECT_NEAR(static_cast<double>(budgets[l][0]), wanted, 1);
    EXPECT_EQ(budgets[l][0], budgets[l][1]);
    if (l > 0) {
      EXPECT_LT(budgets[l][0], budgets[l - 1][0]);
    }
  }
}

TEST(PyramidBudgets, AreFlatterWhereTheFirstLayersAreFull) {
  SeededRandom random(6, "pyramid");
  const std::vector<LayerScores> layers = random_layers(random, {.layers = 3, .kv_heads = 1, .slots = 104});
  const Budgets budgets = budgets_of(policy_with(BudgetRule::kPyramid, 0.75), layers);  // 78: 74 beyond the sinks
  EXPECT_EQ(budgets, (Budgets{{104}, {78}, {52}}));                                     // 100, 74, 48
}

// Groups of three among eleven layers: with 14 for the mean, the last keeps 3 of it and the first 25.
TEST(SlopeBudgets, FallFromGroupToGroup) {
  SeededRandom random(13, "slope");
  std::vector<LayerScores> layers = random_layers(random, {.layers = 12, .kv_heads = 2, .slots = 1000});
  for (std::size_t l = 0; l < 12; ++l) layers[l].follows = l % 3 != 0;
  PolicySpec policy = policy_with(BudgetRule::kSlope, 0.14);
  policy.group = 3;
  policy.sinks = 0;
  const Budgets budgets = budgets_of(policy, layers);
  for (std::size_t l = 0; l < 12; ++l) {
    const double wanted = 140 * (25 - 22 * static_cast<double>(l / 3) / 3) / 14;
    EXPECT_NEAR(static_cast<double>(budgets[l][0]), wanted, 1) << l;
    EXPECT_EQ(budgets[l], budgets[l / 3 * 3]) << l;
  }
}

TEST(SlopeBudgets, OneGroupIsFlat) {
  SeededRandom random(14, "slope");
  std::vector<LayerScores> layers = random_layers(random, {.layers = 5, .kv_heads = 1, .slots = 100});
  for (std::size_t l = 1; l < 5; ++l) layers[l].follows = true;
  PolicySpec policy = policy_with(BudgetRule::kSlope, 0.3);
  policy.group = 8;
  EXPECT_EQ(budgets_of(policy, layers), Budgets(5, {30}));
}

// Whatever the rule: layers of a group get the same, and the sum loses less than a token for each layer.
TEST(GroupBudgets, AreLevel) {
  SeededRandom random(15, "group");
  for (int round = 0; round < 200; ++round) {
    std::vector<LayerScores> layers =
        random_layers(random, {.layers = 2 + random.below(9), .kv_heads = 1, .slots = 60 + random.below(200)});
    for (std::size_t l = 1; l < layers.size(); ++l) layers[l].follows = random.below(3) != 0;
    for (const BudgetRule rule :
         {BudgetRule::kPyramid, BudgetRule::kPrefix, BudgetRule::kEntropy, BudgetRule::kSlope}) {
      PolicySpec policy = policy_with(rule, random.unit());
      policy.group = 64;
      const Budgets budgets = budgets_of(policy, layers);
      std::size_t base =
          layers.size() * static_cast<std::size_t>(std::llround(policy.keep * static_cast<double>(layers[0].slots)));
      base = std::max(base, layers.size() * 4);
      for (std::size_t l = 1; l < layers.size(); ++l) {
        if (layers[l].follows) {
          ASSERT_EQ(budgets[l], budgets[l - 1]) << budget_name(rule) << ", round " << round;
        }
      }
      ASSERT_LE(sum_of(budgets), base);
      ASSERT_GT(sum_of(budgets) + layers.size(), base);
    }
  }
}

TEST(PyramidBudgets, NeverRise) {
  SeededRandom random(7, "pyramid");
  for (int round = 0; round < 300; ++round) {
    const std::vector<LayerScores> layers =
        random_layers(random, {.layers = 1 + random.below(30), .kv_heads = 1, .slots = 10 + random.below(300)});
    const Budgets budgets = budgets_of(policy_with(BudgetRule::kPyramid, random.unit()), layers);
    ASSERT_TRUE(std::ranges::is_sorted(budgets, std::greater<>()));
  }
}

// The share of its score that a head keeps with a given number of its tokens: the sinks, then the best.
double kept_share(const LayerScores& layer, std::size_t head, std::size_t budget) {
  std::vector<double> scores(layer.scores.begin() + static_cast<std::ptrdiff_t>(head * layer.slots),
                             layer.scores.begin() + static_cast<std::ptrdiff_t>((head + 1) * layer.slots));
  const double least = std::min(std::ranges::min(scores), 0.0);
  for (double& score : scores) score -= least;
  const double total = std::accumulate(scores.begin(), scores.end(), 0.0);
  std::sort(scores.begin() + 4, scores.end(), std::greater<>());
  return std::accumulate(scores.begin(), scores.begin() + static_cast<std::ptrdiff_t>(budget), 0.0) / total;
}

// No layer could give up a token and still keep more than another has.
TEST(PrefixBudgets, KeepOneShareInAllLayers) {
  SeededRandom random(8, "prefix");
  for (int round = 0; round < 200; ++round) {
    std::vector<LayerScores> layers;
    for (int l = 0; l < 5; ++l) {
      layers.push_back(random_layer(random, {.kv_heads = 2, .slots = 60, .least = round % 2 == 0 ? 0 : -1.0}));
      const double peaked = 1 + random.unit() * 12;
      for (float& score : layers.back().scores) {
        score = std::copysign(static_cast<float>(std::pow(std::fabs(double{score}), peaked)), score);
      }
    }
    const Budgets budgets = budgets_of(policy_with(BudgetRule::kPrefix, 0.1 + random.unit() * 0.8), layers);
    const auto share = [&](std::size_t l, std::size_t budget) {
      return (kept_share(layers[l], 0, budget) + kept_share(layers[l], 1, budget)) / 2;
    };
    for (std::size_t a = 0; a < 5; ++a) {
      ASSERT_EQ(budgets[a][0], budgets[a][1]);
      if (budgets[a][0] == 4) continue;
      for (std::size_t b = 0; b < 5; ++b) {
        if (budgets[b][0] < 60) {
          ASSERT_LE(share(a, budgets[a][0] - 1), share(b, budgets[b][0]) + 1e-9);
        }
      }
    }
  }
}

TEST(PrefixBudgets, GiveMoreToTheLayerThatSpreadsItsScore) {
  SeededRandom random(9, "prefix");
  std::vector<LayerScores> layers = random_layers(random, {.layers = 2, .kv_heads = 1, .slots = 100});
  std::ranges::fill(layers[0].scores, 1.0f);
  std::ranges::fill(layers[1].scores, 0.0f);
  for (std::size_t slot = 40; slot < 45; ++slot) layers[1].scores[slot] = 1;
  const Budgets budgets = budgets_of(policy_with(BudgetRule::kPrefix, 0.3), layers);
  EXPECT_EQ(budgets, (Budgets{{53}, {7}}));  // three of the five, and as soon as 60 of the hundred were kept, a fourth
}

TEST(PrefixBudgets, DoNotDependOnTheNumberOfHeads) {
  SeededRandom random(12, "prefix");
  std::vector<LayerScores> layers = random_layers(random, {.layers = 2, .kv_heads = 1, .slots = 100});
  layers[1] = layers[0];
  layers[1].kv_heads = 2;
  layers[1].positions.insert(layers[1].positions.end(), layers[0].positions.begin(), layers[0].positions.end());
  layers[1].scores.insert(layers[1].scores.end(), layers[0].scores.begin(), layers[0].scores.end());
  EXPECT_EQ(budgets_of(policy_with(BudgetRule::kPrefix, 0.3), layers), (Budgets{{30}, {30, 30}}));
}

// One layer spreads its score over 30 tokens of one head and 10 of the other, another one over 30 of each.
TEST(PrefixBudgets, HeadsThatAreFullStayAtAllOfTheirScore) {
  for (const std::size_t fewer : {0, 1}) {
    LayerScores layer;
    layer.kv_heads = 2;
    layer.slots = layer.fixed_from = 30;
    for (std::int32_t i = 0; i < 60; ++i) layer.positions.push_back(i % 30);
    layer.scores.assign(60, 1.0f);
    std::vector<LayerScores> layers(2, layer);
    std::fill_n(layers[0].positions.begin() + static_cast<std::ptrdiff_t>(fewer * 30), 20, kNoToken);
    PolicySpec policy = policy_with(BudgetRule::kPrefix, 0.5);
    policy.sinks = 0;
    EXPECT_EQ(budgets_of(policy, layers), (Budgets{{10, 10}, {20, 20}}));
  }
}

TEST(EntropyBudgets, AreInProportionToTheEffectiveNumberOfTokens) {
  SeededRandom random(10, "entropy");
  std::vector<LayerScores> layers = random_layers(random, {.layers = 2, .kv_heads = 2, .slots = 1004});
  for (LayerScores& layer : layers) std::ranges::fill(layer.scores, 0.0f);
  for (std::size_t head = 0; head < 2; ++head) {
    std::fill_n(layers[0].scores.begin() + static_cast<std::ptrdiff_t>(head * 1004) + 4, 900, 1.0f);
    std::fill_n(layers[1].scores.begin() + static_cast<std::ptrdiff_t>(head * 1004) + 4, 300, 2.0f);
  }
  const Budgets budgets = budgets_of(policy_with(BudgetRule::kEntropy, 0.25), layers);  // 502 for two layers
  EXPECT_NEAR(static_cast<double>(budgets[0][0]), 502 * 0.75, 1);
  EXPECT_NEAR(static_cast<double>(budgets[1][0]), 502 * 0.25, 1);
}

// Every token of the layer in one list, the best taken until the layer's budget is used up.
TEST(AdaBudgets, FollowTheBestTokensOfAllHeads) {
  SeededRandom random(11, "ada");
  for (int round = 0; round < 300; ++round) {
    constexpr std::size_t kHeads = 3, kSlots = 64;
    const LayerScores layer =
        random_layer(random, {.kv_heads = kHeads, .slots = kSlots, .ties = round % 2 == 0 ? 0 : 9, .least = -1.0});
    const double keep = 0.1 + 0.8 * random.unit();
    const auto base = static_cast<std::size_t>(std::llround(keep * kSlots));
    struct Token {
      float score;
      std::size_t slot, head;
    };
    std::vector<Token> tokens;
    for (std::size_t head = 0; head < kHeads; ++head) {
      for (std::size_t slot = 4; slot < kSlots; ++slot)
        tokens.push_back({layer.scores[head * kSlots + slot], slot, head});
    }
    std::ranges::sort(tokens, [](const Token& a, const Token& b) {
      return std::tuple(-a.score, a.slot, a.head) < std::tuple(-b.score, b.slot, b.head);
    });
    std::vector<double> wanted(kHeads, 4 + 0.2 * static_cast<double>(base - 4));
    for (std::size_t i = 0; i < kHeads * (base - 4); ++i) wanted[tokens[i].head] += 0.8;
    const Budgets budgets = budgets_of(policy_with(BudgetRule::kAda, keep), std::span(&layer, 1));
    ASSERT_EQ(sum_of(budgets), kHeads * base);
    for (std::size_t head = 0; head < kHeads; ++head) {
      ASSERT_LT(std::fabs(static_cast<double>(budgets[0][head]) - wanted[head]), 1.0) << "round " << round;
    }
  }
}

TEST(Budgets, NothingAndEmptyLayersGiveNothing) {
  for (const BudgetRule rule : kRules) {
    EXPECT_TRUE(budgets_of(policy_with(rule, 0.5), {}).empty());
    LayerScores layer;
    layer.kv_heads = 2;
    EXPECT_EQ(budgets_of(policy_with(rule, 0.5), std::span(&layer, 1)), (Budgets{{0, 0}}));
  }
}

}  // namespace
}  // namespace cairn
