// SPDX-License-Identifier: Apache-2.0
// Expected Attention against its formula in doubles, and against the queries that it speaks of.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "cairn/base/random.h"
#include "cairn/policy/scorer.h"

namespace cairn {
namespace {

constexpr std::uint32_t kHeads = 2, kGroup = 3, kDim = 12, kSinks = 4;
using Matrix = std::vector<std::vector<double>>;

// A rotation that leaves the first two and the last two channels alone.
RopeSpec rope_of(RopePairing pairing) {
  return {.dims = 8, .first = 2, .pairing = pairing, .base = 50};
}

struct Facts {
  std::size_t slots = 90;
  std::vector<std::int32_t> positions;
  std::vector<float> keys, values;
  QueryGaussians queries;

  explicit Facts(RopePairing pairing, double spread = 1) {
    SeededRandom random(4, "expected");
    const auto any = [&] { return random.unit() * 2 - 1; };
    for (std::size_t i = 0; i < kHeads * slots; ++i) {
      positions.push_back(random.below(5) == 0 ? kNoToken : static_cast<std::int32_t>(i % slots));
    }
    for (std::size_t i = 0; i < kHeads * slots * kDim; ++i) {
      keys.push_back(static_cast<float>(any()));
      values.push_back(static_cast<float>(any()));
    }
    queries.rope = rope_of(pairing);
    queries.per_kv_head = kGroup;
    for (std::uint32_t head = 0; head < kHeads * kGroup; ++head) {
      for (std::uint32_t c = 0; c < kDim; ++c) queries.mean.push_back(any());
      Matrix root(kDim, std::vector<double>(kDim));
      for (auto& row : root) std::ranges::generate(row, any);
      for (std::uint32_t i = 0; i < kDim; ++i) {
        for (std::uint32_t j = 0; j < kDim; ++j) {
          double sum = 0;
          for (std::uint32_t c = 0; c < kDim; ++c) sum += root[i][c] * root[j][c] * spread;
          queries.covariance.push_back(sum);
        }
      }
    }
  }
  std::vector<float> score() const {
    std::vector<float> scores(positions.size(), -1.0f);
    find_scorer("expected")
        .value()
        ->score({.layers = 1,
                 .shape = {kHeads, kDim, 0},
                 .slots = slots,
                 .positions = positions.data(),
                 .keys = keys.data(),
                 .values = values.data(),
                 .queries = &queries},
                {.sinks = kSinks}, scores);
    return scores;
  }
};

// The mean of the rotations at the 512 positions from `next` on.
Matrix mean_rotation(const RopeSpec& rope, std::int32_t next) {
  Matrix mean(kDim, std::vector<double>(kDim));
  for (std::uint32_t c : {0u, 1u, 10u, 11u}) mean[c][c] = 1;
  for (std::uint32_t pair = 0; pair < 4; ++pair) {
    const bool neighbours = rope.pairing == RopePairing::kNeighbours;
    const std::uint32_t a = 2 + (neighbours ? 2 * pair : pair), b = neighbours ? a + 1 : a + 4;
    for (std::int32_t position = next; position < next + 512; ++position) {
      const double angle = position * std::pow(50.0, -2.0 * pair / 8);
      mean[a][a] += std::cos(angle) / 512;
      mean[a][b] -= std::sin(angle) / 512;
      mean[b][a] += std::sin(angle) / 512;
      mean[b][b] += std::cos(angle) / 512;
    }
  }
  return mean;
}

// The key as a query sees it before it turns: the transposed rotation of it.
std::vector<double> seen_key(const Facts& facts, std::size_t token, const Matrix& rotation) {
  std::vector<double> key(kDim);
  for (std::uint32_t i = 0; i < kDim; ++i) {
    for (std::uint32_t j = 0; j < kDim; ++j) key[i] += rotation[j][i] * double{facts.keys[token * kDim + j]};
  }
  return key;
}

double expected_weight(const Facts& facts, std::size_t query_head, const std::vector<double>& key) {
  double sum = 0;
  for (std::uint32_t i = 0; i < kDim; ++i) {
    sum += facts.queries.mean[query_head * kDim + i] * key[i];
    for (std::uint32_t j = 0; j < kDim; ++j) {
      sum += key[i] * facts.queries.covariance[(query_head * kDim + i) * kDim + j] * key[j] / 2;
    }
  }
  return std::exp(sum);
}

TEST(ExpectedAttention, IsTheFormula) {
  for (const RopePairing pairing : {RopePairing::kNeighbours, RopePairing::kHalves}) {
    const Facts facts(pairing);
    const std::vector<float> scores = facts.score();
    const Matrix rotation = mean_rotation(facts.queries.rope, std::ranges::max(facts.positions) + 1);
    for (std::size_t head = 0; head < kHeads; ++head) {
      const auto is_sink = [&](std::size_t i) { return facts.positions[i] < static_cast<std::int32_t>(kSinks); };
      std::vector<double> expected(facts.slots);
      for (std::size_t g = 0; g < kGroup; ++g) {
        std::vector<double> weights(facts.slots);
        double sum = 0;
        for (std::size_t t = 0; t < facts.slots; ++t) {
          const std::size_t i = head * facts.slots + t;
          if (facts.positions[i] == kNoToken || is_sink(i)) continue;
          sum += weights[t] = expected_weight(facts, head * kGroup + g, seen_key(facts, i, rotation));
        }
        for (std::size_t t = 0; t < facts.slots; ++t) expected[t] += weights[t] / sum / kGroup;
      }
      double best = 0;
      for (std::size_t t = 0; t < facts.slots; ++t) {
        double squares = 0;
        for (std::size_t c = 0; c < kDim; ++c) {
          squares += std::pow(double{facts.values[(head * facts.slots + t) * kDim + c]}, 2);
        }
        best = std::max(best, expected[t] *= std::sqrt(squares));
      }
      for (std::size_t t = 0; t < facts.slots; ++t) {
        const std::size_t i = head * facts.slots + t;
        if (facts.positions[i] == kNoToken) continue;
        const double wanted = is_sink(i) ? best : expected[t];
        ASSERT_NEAR(double{scores[i]}, wanted, 1e-5 * best) << t;
      }
    }
  }
}

// Without spread the score is the attention of the one query that there is, where it does not turn.
TEST(ExpectedAttention, OneQueryIsItsAttention) {
  Facts facts(RopePairing::kHalves, 0);
  facts.queries.rope = {};
  for (std::size_t i = 0; i < facts.values.size(); ++i) facts.values[i] = i % kDim == 0 ? 1.0f : 0.0f;
  const std::vector<float> scores = facts.score();
  double sum = 0;
  for (std::size_t i = 0; i < facts.slots; ++i) {
    if (facts.positions[i] >= static_cast<std::int32_t>(kSinks)) sum += double{scores[i]};
  }
  EXPECT_NEAR(sum, 1, 1e-6);
}

}  // namespace
}  // namespace cairn
