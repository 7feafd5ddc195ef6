// SPDX-License-Identifier: Apache-2.0
// Which slots stay: against a plain choice, and what holds for every policy and layer.
#include "cairn/policy/retention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "cairn/policy/scorer.h"
#include "cairn/testing/layer_scores.h"

namespace cairn {
namespace {

using Slots = std::vector<std::uint32_t>;
using testing::LayersLike;
using testing::occupied;
using testing::random_layer;
using testing::random_layers;

PolicySpec random_policy(SeededRandom& random) {
  PolicySpec policy;
  policy.keep = 0.05 + 0.95 * random.unit();
  policy.budget = static_cast<BudgetRule>(random.below(5));
  policy.per_head = policy.budget == BudgetRule::kAda || random.below(2) == 0;
  policy.sinks = static_cast<std::uint32_t>(random.below(6));
  policy.recent = static_cast<std::uint32_t>(random.below(12));
  policy.recent_share = random.below(3) == 0 ? random.unit() : 0;
  policy.unit = random.pick(std::vector<std::uint32_t>{1, 1, 8, 16});
  return policy;
}

// With empty slots at the same place in all heads where heads share a list.
std::vector<LayerScores> some_layers(SeededRandom& random, const PolicySpec& policy) {
  const LayersLike like{.layers = 1 + random.below(3),
                        .kv_heads = static_cast<std::uint32_t>(1 + random.below(3)),
                        .slots = 1 + random.below(150),
                        .empty = random.below(2) == 0 ? 0 : random.unit() * 0.5,
                        .ties = random.below(2) == 0 ? 0 : 4,
                        .least = random.below(2) == 0 ? 0 : -1.0};
  std::vector<LayerScores> layers = random_layers(random, like);
  for (LayerScores& layer : layers) {
    layer.fixed_from = layer.slots - random.below(std::min<std::size_t>(layer.slots, 20));
    layer.fixed_before = random.below(3) == 0 ? random.below(layer.slots) : 0;
    if (policy.per_head) continue;
    for (std::size_t i = layer.slots; i < layer.positions.size(); ++i) {
      layer.positions[i] = layer.positions[i % layer.slots];
    }
  }
  return layers;
}

bool is_protected(const PolicySpec& policy, const LayerScores& layer, std::size_t slot, std::int32_t position) {
  const std::int32_t last = std::ranges::max(layer.positions);
  return slot < layer.fixed_before || slot >= layer.fixed_from || position < static_cast<std::int32_t>(policy.sinks) ||
         last - position < static_cast<std::int32_t>(policy.recent);
}

TEST(PlanRetention, HoldsItsPromises) {
  SeededRandom random(1, "plan");
  for (int round = 0; round < 3000; ++round) {
    const PolicySpec policy = random_policy(random);
    const std::vector<LayerScores> layers = some_layers(random, policy);
    const RetentionPlan plan = plan_retention(policy, layers);
    const auto budgets = budgets_of(policy, layers);
    ASSERT_EQ(plan.layers.size(), layers.size());
    for (std::size_t l = 0; l < layers.size(); ++l) {
      const LayerScores& layer = layers[l];
      ASSERT_EQ(plan.layers[l].heads.size(), policy.per_head ? layer.kv_heads : 1);
      for (std::size_t list = 0; list < plan.layers[l].heads.size(); ++list) {
        const Slots& kept = plan.layers[l].heads[list];
        const std::size_t row = list * layer.slots;
        ASSERT_TRUE(std::ranges::is_sorted(kept));
        ASSERT_EQ(std::ranges::adjacent_find(kept), kept.end());
        std::size_t held = 0;
        std::map<std::int32_t, std::pair<int, int>> units;  // by number: tokens that may go, and those that stay
        for (std::size_t slot = 0; slot < layer.slots; ++slot) {
          const std::int32_t position = layer.positions[row + slot];
          const bool stays = std::ranges::binary_search(kept, static_cast<std::uint32_t>(slot));
          if (position == kNoToken || slot >= layer.fixed_from) {
            ASSERT_FALSE(stays);
          }
          if (position == kNoToken) continue;
          if (is_protected(policy, layer, slot, position)) {
            ++held;
            ASSERT_TRUE(stays || slot >= layer.fixed_from);
          } else {
            auto& [tokens, stayed] = units[position / static_cast<std::int32_t>(policy.unit)];
            ++tokens;
            stayed += stays ? 1 : 0;
          }
        }
        std::size_t tail = 0;
        for (std::size_t slot = layer.fixed_from; slot < layer.slots; ++slot) {
          tail += layer.positions[row + slot] == kNoToken ? 0 : 1;
        }
        const std::size_t count = kept.size() + tail, budget = budgets[l][list];
        ASSERT_GE(budget, held);
        const std::size_t within = std::min(budget, occupied(layer, list));
        ASSERT_LE(count, within);
        ASSERT_GT(count + policy.unit, within);  // at most one unit did not fit
        if (policy.recent_share > 0) continue;   // its newest tokens may cut a unit
        for (const auto& [unit, tokens] : units) {
          ASSERT_TRUE(tokens.second == 0 || tokens.second == tokens.first) << "unit " << unit;
        }
      }
    }
  }
}

// The best tokens by a sort of all, for units of one.
TEST(PlanRetention, KeepsTheBestAndOfEqualOnesTheOlder) {
  SeededRandom random(2, "plan");
  for (int round = 0; round < 500; ++round) {
    PolicySpec policy = random_policy(random);
    policy.unit = 1;
    policy.recent_share = 0;
    const std::vector<LayerScores> layers = some_layers(random, policy);
    const RetentionPlan plan = plan_retention(policy, layers);
    for (std::size_t l = 0; l < layers.size(); ++l) {
      const LayerScores& layer = layers[l];
      for (std::size_t list = 0; list < plan.layers[l].heads.size(); ++list) {
        const Slots& kept = plan.layers[l].heads[list];
        std::vector<std::pair<double, std::uint32_t>> gone, stayed;  // minus the score, and the slot
        for (std::uint32_t slot = 0; slot < layer.fixed_from; ++slot) {
          const std::int32_t position = layer.positions[list * layer.slots + slot];
          if (position == kNoToken || is_protected(policy, layer, slot, position)) continue;
          double score = 0;
          for (std::uint32_t head = 0; head < layer.kv_heads; ++head) {
            if (policy.per_head && head != list) continue;
            score += double{layer.scores[head * layer.slots + slot]} / (policy.per_head ? 1 : layer.kv_heads);
          }
          (std::ranges::binary_search(kept, slot) ? stayed : gone).emplace_back(-score, slot);
        }
        if (gone.empty() || stayed.empty()) continue;
        const auto& worst = std::ranges::max(stayed);
        const auto& best = std::ranges::min(gone);
        ASSERT_LE(worst.first, best.first + 1e-12);
        // Sums in another order may tell equal means apart, so ties are for heads of their own.
        if (policy.per_head) {
          ASSERT_LT(worst, best);
        }
      }
    }
  }
}

LayerScores by_hand(std::vector<float> scores) {
  LayerScores layer;
  layer.kv_heads = 1;
  layer.slots = layer.fixed_from = scores.size();
  for (std::size_t i = 0; i < scores.size(); ++i) layer.positions.push_back(static_cast<std::int32_t>(i));
  layer.scores = std::move(scores);
  return layer;
}

PolicySpec plain(double keep) {
  PolicySpec policy;
  policy.keep = keep;
  policy.sinks = 0;
  return policy;
}

Slots only_list(const PolicySpec& policy, const LayerScores& layer) {
  return plan_retention(policy, std::span(&layer, 1)).layers.at(0).heads.at(0);
}

TEST(PlanRetention, ByHand) {
  const LayerScores layer = by_hand({1, 5, 2, 5, 5, 0, 3, 1});
  EXPECT_EQ(only_list(plain(0.25), layer), (Slots{1, 3}));
  PolicySpec policy = plain(0.5);
  policy.sinks = 1;
  policy.recent = 2;
  EXPECT_EQ(only_list(policy, layer), (Slots{0, 1, 6, 7}));
  policy = plain(0.5);
  policy.recent_share = 0.5;
  EXPECT_EQ(only_list(policy, layer), (Slots{1, 3, 6, 7}));
  policy.recent_share = 1;
  EXPECT_EQ(only_list(policy, layer), (Slots{4, 5, 6, 7}));
  policy.sinks = 2;
  EXPECT_EQ(only_list(policy, layer), (Slots{0, 1, 6, 7}));
}

TEST(PlanRetention, UnitsGoByTheirMean) {
  std::vector<float> scores(24, 0.0f);
  scores[0] = 10;
  for (std::size_t i = 8; i < 16; ++i) scores[i] = 1;
  for (std::size_t i = 16; i < 24; ++i) scores[i] = 1.3f;
  PolicySpec policy = plain(1.0 / 3);
  policy.unit = 8;
  EXPECT_EQ(only_list(policy, by_hand(scores)), (Slots{16, 17, 18, 19, 20, 21, 22, 23}));
  scores[0] = 11;
  EXPECT_EQ(only_list(policy, by_hand(scores)), (Slots{0, 1, 2, 3, 4, 5, 6, 7}));
}

TEST(PlanRetention, UnitsGoByTheirBetterHalf) {
  std::vector<float> scores(24, 0.0f);
  for (std::size_t i = 8; i < 16; ++i) scores[i] = 1;
  for (std::size_t i = 16; i < 20; ++i) scores[i] = 1.1f;
  PolicySpec policy = plain(1.0 / 3);
  policy.unit = 8;
  EXPECT_EQ(only_list(policy, by_hand(scores)), (Slots{8, 9, 10, 11, 12, 13, 14, 15}));
  policy.unit_by_best = true;
  EXPECT_EQ(only_list(policy, by_hand(scores)), (Slots{16, 17, 18, 19, 20, 21, 22, 23}));
}

// Layers that hold the same tokens keep the same, whatever lies between them; others what they have of it.
TEST(PlanRetention, LayersOfAGroupTakeTheLeadersTokens) {
  SeededRandom random(4, "group");
  const LayerScores leader = testing::random_layer(random, {.kv_heads = 2, .slots = 200, .empty = 0.2});
  const LayerScores same = follow_scores(leader, leader.positions, 2);
  EXPECT_TRUE(same.follows);
  std::vector<std::int32_t> spread, fewer;
  for (const std::int32_t position : leader.positions) {
    spread.insert(spread.end(), {position, kNoToken});
    fewer.push_back(position % 3 == 0 ? kNoToken : position);
  }
  const PolicySpec policy = plain(0.3);
  const LayerScores layers[] = {leader, same, follow_scores(leader, spread, 2), follow_scores(leader, fewer, 2)};
  const RetentionPlan plan = plan_retention(policy, layers);
  EXPECT_EQ(plan.layers[1].heads, plan.layers[0].heads);
  for (std::size_t head = 0; head < 2; ++head) {
    Slots doubled = plan.layers[0].heads[head];
    for (std::uint32_t& slot : doubled) slot *= 2;
    EXPECT_EQ(plan.layers[2].heads[head], doubled);
    for (const std::uint32_t slot : plan.layers[0].heads[head]) {
      const bool held = layers[3].positions[head * 200 + slot] != kNoToken;
      EXPECT_EQ(std::ranges::binary_search(plan.layers[3].heads[head], slot), held) << slot;
    }
  }
}

TEST(PlanRetention, AnotherNumberOfHeadsTakesTheFirstOne) {
  LayerScores leader = by_hand({1, 5, 2, 4});
  const LayerScores layer = follow_scores(leader, {0, 1, 2, 3, 0, kNoToken, 2, 3, 0, 1, 2, 3}, 3);
  EXPECT_EQ(layer.slots, 4u);
  EXPECT_EQ(layer.scores, (std::vector<float>{1, 5, 2, 4, 1, 0, 2, 4, 1, 5, 2, 4}));
}

TEST(PlanRetention, WhatTheFirstOfAGroupHasNoMoreIsWorthLeast) {
  const LayerScores layer = follow_scores(by_hand({-1, -5, -2, -4}), {0, 1, 2, 3, 7, kNoToken}, 1);
  EXPECT_EQ(layer.scores, (std::vector<float>{-1, -5, -2, -4, -5, 0}));
}

TEST(ScoreLayer, PunctuationIsDiscountedTowardsTheLeastScore) {
  PolicySpec policy = parse_policy("keydiff+punctuation=0.25+scorer=recency").value();
  const std::vector<std::int32_t> positions = {2, 3, 4, kNoToken, 6};
  const std::vector<std::uint8_t> marks = {1, 0, 0, 1, 1, 1};  // of positions 0 to 5: the last token is not known
  LayerEvidence evidence{.shape = {1, 8, 0}, .slots = 5, .positions = positions.data(), .punctuation = marks};
  const LayerScores discounted = score_layer(evidence, policy);
  policy.punctuation = 1;
  const LayerScores plain = score_layer(evidence, policy);
  const float least = plain.scores[0];
  EXPECT_EQ(discounted.scores[0], least);
  EXPECT_EQ(discounted.scores[1], least + 0.25f * (plain.scores[1] - least));
  EXPECT_EQ(discounted.scores[2], least + 0.25f * (plain.scores[2] - least));
  EXPECT_EQ(discounted.scores[4], plain.scores[4]);
}

// The sinks leave four tokens of the first unit, which count as four, and the first unit that does not fit is the last.
TEST(PlanRetention, CutUnitsAreJudgedByTheirMeanToo) {
  std::vector<float> scores(32, 0.0f);
  for (std::size_t i = 4; i < 8; ++i) scores[i] = 1;
  for (std::size_t i = 8; i < 16; ++i) scores[i] = 0.6f;
  PolicySpec policy = plain(0.25);
  policy.sinks = 4;
  policy.unit = 8;
  EXPECT_EQ(only_list(policy, by_hand(scores)), (Slots{0, 1, 2, 3, 4, 5, 6, 7}));
  std::fill_n(scores.begin() + 4, 4, 0.5f);
  EXPECT_EQ(only_list(policy, by_hand(scores)), (Slots{0, 1, 2, 3}));
}

TEST(PlanRetention, SharedListsGoByTheMeanOfTheHeadsThatHoldAToken) {
  LayerScores layer = by_hand({1, 5, 2, 0});
  layer.kv_heads = 2;
  layer.positions = {0, 1, 2, 3, 0, kNoToken, kNoToken, 3};
  layer.scores = {4, 5, 1, 0, 4, 9, 9, 0};
  PolicySpec policy = plain(0.25);
  policy.per_head = false;
  EXPECT_EQ(only_list(policy, layer), (Slots{1}));
  policy.keep = 0.5;
  EXPECT_EQ(only_list(policy, layer), (Slots{0, 1}));
}

TEST(PlanRetention, StreamingIsSinksAndTheNewest) {
  std::vector<float> scores(100);
  for (std::size_t i = 0; i < 100; ++i) scores[i] = static_cast<float>(i);
  Slots expected = {0, 1, 2, 3};
  for (std::uint32_t slot = 84; slot < 100; ++slot) expected.push_back(slot);
  EXPECT_EQ(only_list(parse_policy("streamingllm+keep=0.2").value(), by_hand(scores)), expected);
}

TEST(PlanRetention, AllStaysAtOne) {
  SeededRandom random(3, "plan");
  for (int round = 0; round < 300; ++round) {
    PolicySpec policy = random_policy(random);
    policy.keep = 1;
    const std::vector<LayerScores> layers = some_layers(random, policy);
    const RetentionPlan plan = plan_retention(policy, layers);
    for (std::size_t l = 0; l < layers.size(); ++l) {
      for (std::size_t list = 0; list < plan.layers[l].heads.size(); ++list) {
        Slots all;
        for (std::uint32_t slot = 0; slot < layers[l].fixed_from; ++slot) {
          if (layers[l].positions[list * layers[l].slots + slot] != kNoToken) all.push_back(slot);
        }
        ASSERT_EQ(plan.layers[l].heads[list], all) << budget_name(policy.budget);
      }
    }
  }
}

TEST(PlanRetention, ScoresThatAreNoNumbersGoFirst) {
  const LayerScores layer = by_hand({std::nanf(""), 1, std::nanf(""), -5});
  EXPECT_EQ(only_list(plain(0.5), layer), (Slots{1, 3}));
}

// What one retention keeps, a second at the same length keeps too: scores of tokens do not change.
TEST(PlanRetention, ASecondTimeNothingGoes) {
  for (const char* name : {"random", "streamingllm", "random+heads=shared", "random+unit=8"}) {
    const PolicySpec policy = parse_policy(name).value();
    LayerEvidence evidence{.shape = {2, 8, 0}, .slots = 400, .seed = 9};
    std::vector<std::int32_t> positions(800);
    for (std::size_t i = 0; i < 800; ++i) positions[i] = static_cast<std::int32_t>(i % 400);
    evidence.positions = positions.data();
    LayerScores layer = score_layer(evidence, policy);
    layer.fixed_from = 380;
    const RetentionPlan first = plan_retention(policy, std::span(&layer, 1));
    for (std::size_t head = 0; head < 2; ++head) {
      const Slots& kept = first.layers[0].heads[policy.per_head ? head : 0];
      for (std::uint32_t slot = 0; slot < 380; ++slot) {
        if (!std::ranges::binary_search(kept, slot)) positions[head * 400 + slot] = kNoToken;
      }
    }
    LayerScores left = score_layer(evidence, policy);
    left.fixed_from = 380;
    const RetentionPlan second = plan_retention(policy, std::span(&left, 1));
    EXPECT_EQ(second.layers[0].heads, first.layers[0].heads) << name;
  }
}

}  // namespace
}  // namespace cairn
