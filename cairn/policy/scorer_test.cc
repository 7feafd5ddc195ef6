// SPDX-License-Identifier: Apache-2.0
// Each scorer against its formula in plain doubles, on random evidence with empty slots, and by hand.
#include "cairn/policy/scorer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "cairn/base/random.h"
#include "cairn/policy/retention.h"

namespace cairn {
namespace {

// Owns what LayerEvidence points to.
struct Facts {
  PageShape shape;
  std::size_t slots;
  std::vector<std::int32_t> positions;
  std::vector<float> keys, values, mass;
  std::vector<std::uint32_t> seen_by;
  QueryGaussians queries;
  std::uint32_t layer = 2;
  std::uint64_t seed = 5;

  Facts(SeededRandom& random, PageShape shape_of, std::size_t slots_of, double empty)
      : shape(shape_of), slots(slots_of) {
    const auto fill = [&](std::vector<float>& to, std::size_t count, double low) {
      for (std::size_t i = 0; i < count; ++i) to.push_back(static_cast<float>(low + (1 - low) * random.unit()));
    };
    for (std::size_t i = 0; i < shape.kv_heads * slots; ++i) {
      positions.push_back(random.unit() < empty ? kNoToken : static_cast<std::int32_t>(i % slots));
    }
    fill(keys, shape.kv_heads * slots * shape.head_dim, -1);
    fill(values, shape.kv_heads * slots * shape.value_dim(), -1);
    fill(mass, shape.kv_heads * slots, 0);
    for (std::size_t i = 0; i < slots * shape.kv_heads; ++i)
      seen_by.push_back(static_cast<std::uint32_t>(random.below(8)));
    queries.per_kv_head = 1;
    queries.mean.resize(shape.kv_heads * shape.head_dim, 0.5);
    queries.covariance.resize(queries.mean.size() * shape.head_dim, 0.25);
  }

  LayerEvidence evidence() const {
    return {.layer = layer,
            .layers = 4,
            .shape = shape,
            .slots = slots,
            .positions = positions.data(),
            .keys = keys.data(),
            .values = values.data(),
            .mass = mass.data(),
            .seen_by = seen_by.data(),
            .probes = 8,
            .queries = &queries,
            .seed = seed};
  }
  std::vector<float> score(std::string_view name, const PolicySpec& policy = {}) const {
    std::vector<float> scores(positions.size(), 99.0f);
    find_scorer(name).value()->score(evidence(), policy, scores);
    return scores;
  }
  double key(std::size_t i, std::size_t c) const { return double{keys[i * shape.head_dim + c]}; }
};

Facts some_facts(std::uint64_t seed, std::size_t slots = 50, double empty = 0.2) {
  SeededRandom random(seed, "scorer");
  return {random, {3, 8, 0}, slots, empty};
}

template <class Expected>
void expect_scores(const Facts& facts, const std::vector<float>& scores, double tolerance, const Expected& expected) {
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (facts.positions[i] == kNoToken) continue;
    ASSERT_NEAR(double{scores[i]}, expected(i), tolerance) << i;
  }
}

TEST(Scorers, RecencyIsThePosition) {
  const Facts facts = some_facts(1);
  expect_scores(facts, facts.score("recency"), 0, [&](std::size_t i) { return double(facts.positions[i]); });
}

TEST(Scorers, RandomIsOfTheTokenAlone) {
  Facts facts = some_facts(2, 4000, 0.2);
  const std::vector<float> scores = facts.score("random");
  EXPECT_EQ(scores, facts.score("random"));
  double sum = 0, count = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (facts.positions[i] == kNoToken) continue;
    ASSERT_TRUE(scores[i] >= 0 && scores[i] <= 1);
    sum += double{scores[i]};
    ++count;
  }
  EXPECT_NEAR(sum / count, 0.5, 0.02);
  // The same position in another slot has the same score; another head, layer or sequence gives another.
  std::vector<std::int32_t> moved(facts.positions);
  std::swap(moved[0], moved[1]);
  Facts other = facts;
  other.positions = moved;
  EXPECT_EQ(other.score("random")[0], scores[1]);
  facts.positions.assign(facts.positions.size(), 7);
  EXPECT_NE(facts.score("random")[0], facts.score("random")[facts.slots]);
  const float before = facts.score("random")[0];
  facts.layer = 3;
  EXPECT_NE(facts.score("random")[0], before);
  facts.layer = 2;
  facts.seed = 6;
  EXPECT_NE(facts.score("random")[0], before);
}

TEST(Scorers, KnormIsMinusTheLength) {
  const Facts facts = some_facts(3);
  expect_scores(facts, facts.score("knorm"), 1e-6, [&](std::size_t i) {
    double squares = 0;
    for (std::size_t c = 0; c < 8; ++c) squares += facts.key(i, c) * facts.key(i, c);
    return -std::sqrt(squares);
  });
}

TEST(Scorers, KeydiffIsMinusTheCosineWithTheMeanDirection) {
  const Facts facts = some_facts(4);
  const auto norm = [&](std::size_t i) {
    double squares = 0;
    for (std::size_t c = 0; c < 8; ++c) squares += facts.key(i, c) * facts.key(i, c);
    return std::sqrt(squares);
  };
  expect_scores(facts, facts.score("keydiff"), 1e-6, [&](std::size_t i) {
    const std::size_t row = i / facts.slots * facts.slots;
    std::vector<double> mean(8);
    for (std::size_t j = row; j < row + facts.slots; ++j) {
      for (std::size_t c = 0; facts.positions[j] != kNoToken && c < 8; ++c) mean[c] += facts.key(j, c) / norm(j);
    }
    double product = 0, length = 0;
    for (std::size_t c = 0; c < 8; ++c) {
      product += facts.key(i, c) * mean[c];
      length += mean[c] * mean[c];
    }
    return -product / norm(i) / std::sqrt(length);
  });
}

TEST(Scorers, KeydiffPrefersTheKeyThatPointsElsewhere) {
  Facts facts = some_facts(5, 10, 0);
  for (std::size_t i = 0; i < facts.keys.size(); ++i) facts.keys[i] = i % 8 == 0 ? 1.0f : 0.1f;
  for (std::size_t c = 0; c < 8; ++c) facts.keys[4 * 8 + c] *= -3;
  const std::vector<float> scores = facts.score("keydiff");
  EXPECT_EQ(std::ranges::max_element(scores) - scores.begin(), 4);
  EXPECT_NEAR(double{scores[4]}, 1, 1e-6);
  EXPECT_NEAR(double{scores[0]}, -1, 1e-6);
}

TEST(Scorers, NoKeyAndEqualKeysGiveNumbers) {
  for (const float value : {0.0f, 1.0f}) {
    for (const Scorer& scorer : scorer_table()) {
      Facts facts = some_facts(6, 600, 0.1);
      std::ranges::fill(facts.keys, value);
      std::ranges::fill(facts.values, value);
      std::ranges::fill(facts.mass, value);
      for (const float score : facts.score(scorer.name)) ASSERT_TRUE(std::isfinite(score)) << scorer.name;
    }
  }
}

TEST(Scorers, MassIsTheMeanOverProbes) {
  const Facts facts = some_facts(7);
  expect_scores(facts, facts.score("mass"), 1e-7, [&](std::size_t i) { return double{facts.mass[i]} / 8; });
}

TEST(Scorers, SumAndPeakAreWhatTheProbesGave) {
  const Facts facts = some_facts(8);
  EXPECT_EQ(facts.score("sum"), facts.mass);
  EXPECT_EQ(facts.score("peak"), facts.mass);
  EXPECT_EQ(find_scorer("sum").value()->needs.mass, MassRule::kSum);
  EXPECT_EQ(find_scorer("peak").value()->needs.mass, MassRule::kHeadMean);
}

TEST(Scorers, ObservedAndSalienceDivideByWhoCouldSee) {
  const Facts facts = some_facts(9);
  for (const char* name : {"observed", "salience"}) {
    expect_scores(facts, facts.score(name), 1e-6, [&](std::size_t i) {
      const double seen = facts.seen_by[i];
      return seen == 0 ? 0 : double{facts.mass[i]} / seen;
    });
  }
  EXPECT_EQ(find_scorer("observed").value()->needs.probes, Probes::kAll);
  EXPECT_EQ(find_scorer("salience").value()->needs.probes, Probes::kTenth);
}

// LagKV's formula for the chunk of 128 that begins with the `begin`-th of a head's tokens: unnormalised amounts.
std::vector<double> lag_amounts(const std::vector<float>& rows, std::size_t dim, const std::vector<std::size_t>& tokens,
                                std::size_t begin) {
  std::vector<double> spread;
  for (std::size_t t = begin; t < begin + 128; ++t) {
    std::vector<double> measured;
    for (std::size_t c = 0; c < dim; ++c) {
      double low = 1e9, high = -1e9;
      for (std::size_t n = begin + 128; n < begin + 256; ++n) {
        low = std::min(low, double{rows[tokens[n] * dim + c]});
        high = std::max(high, double{rows[tokens[n] * dim + c]});
      }
      measured.push_back((double{rows[tokens[t] * dim + c]} - low) / (high - low));
    }
    double mean = 0, variance = 0;
    for (const double x : measured) mean += x / static_cast<double>(dim);
    for (const double x : measured) variance += (x - mean) * (x - mean) / static_cast<double>(dim - 1);
    spread.push_back(std::exp(std::sqrt(variance)));
  }
  double sum = 0;
  for (const double x : spread) sum += x;
  for (double& x : spread) x /= sum;
  return spread;
}

TEST(Scorers, LagkvRanksAgainstTheNextChunk) {
  SeededRandom random(10, "scorer");
  for (const PageShape shape : {PageShape{2, 8, 0}, PageShape{1, 16, 8}}) {
    const Facts facts(random, shape, 500, 0.1);
    PolicySpec policy;
    const std::vector<float> scores = facts.score("lagkv", policy);
    for (std::uint32_t head = 0; head < shape.kv_heads; ++head) {
      std::vector<std::size_t> tokens;  // from the sinks on
      for (std::size_t i = head * facts.slots; i < (head + 1) * facts.slots; ++i) {
        if (facts.positions[i] == kNoToken) continue;
        if (facts.positions[i] < 4) {
          EXPECT_GE(scores[i], 1.0f);
        } else {
          tokens.push_back(i);
        }
      }
      std::size_t begin = 0;
      for (; begin + 256 <= tokens.size(); begin += 128) {
        std::vector<double> amounts = lag_amounts(facts.keys, shape.head_dim, tokens, begin);
        const std::vector<double> of_values = lag_amounts(facts.values, shape.value_dim(), tokens, begin);
        for (std::size_t i = 0; i < 128; ++i) amounts[i] += of_values[i];
        for (std::size_t i = 0; i < 128; ++i) {
          const auto rank = std::ranges::count_if(amounts, [&](double other) { return other < amounts[i]; });
          ASSERT_EQ(scores[tokens[begin + i]], static_cast<float>(rank) / 128) << i;
        }
      }
      EXPECT_GE(begin, 128u);
      for (std::size_t i = begin; i < tokens.size(); ++i) {  // the last, unmeasured ones: the newest first
        EXPECT_GE(scores[tokens[i]], 1.0f);
        if (i > begin) {
          EXPECT_GT(scores[tokens[i]], scores[tokens[i - 1]]);
        }
      }
    }
  }
}

TEST(Scorers, LagkvMeasuresAChunkAsSoonAsTheNextIsFull) {
  for (const std::size_t slots : {259, 260}) {
    const std::vector<float> scores = some_facts(15, slots, 0).score("lagkv");
    const auto measured = std::count_if(scores.begin(), scores.begin() + static_cast<std::ptrdiff_t>(slots),
                                        [](float score) { return score < 1; });
    EXPECT_EQ(measured, slots == 260 ? 128 : 0);
  }
}

// Scores that a policy did not make are of no interest here: a scorer that gives what the test wants.
std::vector<float> given_scores;
void score_given(const LayerEvidence&, const PolicySpec&, std::span<float> scores) {
  std::ranges::copy(given_scores, scores.begin());
}
constexpr Scorer kGiven = {"given", {}, "", score_given};

LayerScores scored(const Facts& facts, PolicySpec policy) {
  policy.scorer = &kGiven;
  return score_layer(facts.evidence(), policy);
}

TEST(ScoreLayer, PoolsOverOccupiedNeighboursBeforeTheRecent) {
  SeededRandom random(11, "pool");
  for (int round = 0; round < 50; ++round) {
    const Facts facts(random, {2, 8, 0}, 40, 0.3);
    given_scores = facts.mass;
    PolicySpec policy;
    policy.pool = static_cast<std::uint32_t>(2 * random.below(6) + 1);
    policy.recent = static_cast<std::uint32_t>(random.below(10));
    const LayerScores layer = scored(facts, policy);
    EXPECT_EQ(layer.fixed_from, 40u);
    EXPECT_EQ(layer.fixed_before, 0u);
    const std::int32_t last = std::ranges::max(facts.positions);
    for (std::size_t head = 0; head < 2; ++head) {
      std::vector<std::size_t> old;
      for (std::size_t i = head * 40; i < head * 40 + 40; ++i) {
        if (facts.positions[i] == kNoToken) {
          EXPECT_EQ(layer.scores[i], 0.0f);
        } else if (facts.positions[i] + static_cast<std::int32_t>(policy.recent) > last) {
          EXPECT_EQ(layer.scores[i], facts.mass[i]);
        } else {
          old.push_back(i);
        }
      }
      for (std::size_t i = 0; i < old.size(); ++i) {
        double sum = 0, count = 0;
        for (std::size_t j = 0; j < old.size(); ++j) {
          if ((i > j ? i - j : j - i) > policy.pool / 2) continue;
          sum += double{facts.mass[old[j]]};
          ++count;
        }
        ASSERT_NEAR(double{layer.scores[old[i]]}, sum / count, 1e-6);
      }
    }
  }
}

TEST(ScoreLayer, SharedHeadsGetTheMeanOfThoseThatHoldTheToken) {
  SeededRandom random(12, "share");
  const Facts facts(random, {3, 8, 0}, 60, 0.3);
  given_scores = facts.mass;
  PolicySpec policy;
  policy.per_head = false;
  const LayerScores layer = scored(facts, policy);
  for (std::size_t slot = 0; slot < 60; ++slot) {
    double sum = 0, count = 0;
    for (std::size_t i = slot; i < 180; i += 60) {
      if (facts.positions[i] == kNoToken) continue;
      sum += double{facts.mass[i]};
      ++count;
    }
    for (std::size_t i = slot; i < 180; i += 60) {
      if (facts.positions[i] != kNoToken) {
        ASSERT_NEAR(double{layer.scores[i]}, sum / count, 1e-6);
      }
    }
  }
}

TEST(ScoreLayer, WhatIsNoNumberBecomesTheLeastOrTheGreatest) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  Facts facts = some_facts(13, 6, 0);
  facts.positions[5] = kNoToken;
  given_scores = facts.mass;
  std::ranges::copy(std::vector<float>{std::nanf(""), 3, -2, kInfinity, -kInfinity, 100}, given_scores.begin());
  const LayerScores layer = scored(facts, {});
  EXPECT_EQ(std::vector<float>(layer.scores.begin(), layer.scores.begin() + 6),
            (std::vector<float>{-2, 3, -2, 3, -2, 0}));
  std::ranges::fill(given_scores, std::nanf(""));
  for (const float score : scored(facts, {}).scores) EXPECT_EQ(score, 0.0f);
}

TEST(ScoreLayer, NothingGivesNothing) {
  SeededRandom random(14, "none");
  const Facts facts(random, {2, 8, 0}, 0, 0);
  PolicySpec policy;
  policy.pool = 5;
  EXPECT_TRUE(scored(facts, policy).scores.empty());
}

}  // namespace
}  // namespace cairn
