// SPDX-License-Identifier: Apache-2.0
// Sums of queries against plain doubles of the queries before they were rotated.
#include "cairn/cache/query_moments.h"

#include <gtest/gtest.h>

#include <cmath>
#include <utility>
#include <vector>

#include "cairn/base/random.h"

namespace cairn::cache {
namespace {

constexpr std::uint32_t kHeads = 4, kDim = 10, kRows = 150, kSinks = 4;
constexpr PageShape kShape = {2, kDim, 0};

struct Rows {
  std::vector<double> plain;  // [kRows, kHeads, kDim] before the rotation
  std::vector<float> q;       // after it
  std::vector<std::int32_t> positions;
};

Rows some_rows(const RopeSpec& rope, std::uint64_t seed) {
  SeededRandom random(seed, "moments");
  Rows rows;
  for (std::uint32_t r = 0; r < kRows; ++r) {
    rows.positions.push_back(static_cast<std::int32_t>(r));
    for (std::uint32_t h = 0; h < kHeads; ++h) {
      std::vector<double> q(kDim);
      for (double& value : q) value = random.unit() * 2 - 0.5;
      rows.plain.insert(rows.plain.end(), q.begin(), q.end());
      for (std::uint32_t pair = 0; pair < 4; ++pair) {
        const bool neighbours = rope.pairing == RopePairing::kNeighbours;
        const std::uint32_t a = 1 + (neighbours ? 2 * pair : pair), b = neighbours ? a + 1 : a + 4;
        const double angle = r * std::pow(rope.base, -2.0 * pair / 8), first = q[a], second = q[b];
        q[a] = first * std::cos(angle) - second * std::sin(angle);
        q[b] = first * std::sin(angle) + second * std::cos(angle);
      }
      for (const double value : q) rows.q.push_back(static_cast<float>(value));
    }
  }
  return rows;
}

void observe(QueryMoments& moments, std::uint32_t layer, const Rows& rows, std::uint32_t from, std::uint32_t to,
             ThreadPool& pool) {
  moments.observe(layer,
                  {.q = rows.q.data() + std::size_t{from} * kHeads * kDim,
                   .positions = rows.positions.data() + from,
                   .rows = to - from,
                   .pages = {},
                   .more_pages = {},
                   .out = nullptr},
                  {.shape = kShape, .heads = kHeads}, pool);
}

TEST(QueryMoments, AreThoseBeforeTheRotation) {
  ThreadPool pool(2);
  for (const RopePairing pairing : {RopePairing::kNeighbours, RopePairing::kHalves}) {
    const RopeSpec rope = {.dims = 8, .first = 1, .pairing = pairing, .base = 100};
    const Rows first = some_rows(rope, 1), second = some_rows(rope, 2);
    QueryMoments moments(rope, kSinks), cut(rope, kSinks);
    observe(moments, 3, first, 0, kRows, pool);
    observe(moments, 5, second, 0, kRows, pool);
    const QueryGaussians all = moments.read(kShape);
    ASSERT_EQ(all.per_kv_head, 4u);  // two query heads of two layers
    EXPECT_EQ(all.rope, rope);
    for (std::size_t h = 0; h < 8; ++h) {
      const Rows& rows = h % 4 < 2 ? first : second;
      const std::size_t head = h / 4 * 2 + h % 2;
      const auto value = [&](std::size_t r, std::size_t c) { return rows.plain[(r * kHeads + head) * kDim + c]; };
      std::vector<double> mean(kDim);
      for (std::size_t c = 0; c < kDim; ++c) {
        for (std::size_t r = kSinks; r < kRows; ++r) mean[c] += value(r, c) / (kRows - kSinks);
        ASSERT_NEAR(all.mean[h * kDim + c], mean[c], 1e-5) << h;
      }
      for (std::size_t i = 0; i < kDim; ++i) {
        for (std::size_t j = 0; j < kDim; ++j) {
          double sum = 0;
          for (std::size_t r = kSinks; r < kRows; ++r) sum += (value(r, i) - mean[i]) * (value(r, j) - mean[j]);
          ASSERT_NEAR(all.covariance[(h * kDim + i) * kDim + j], sum / (kRows - kSinks), 1e-5) << h;
        }
      }
    }
    // However they are cut, bit by bit.
    for (const auto& [from, to] : {std::pair(0u, 1u), {1u, 64u}, {64u, 65u}, {65u, kRows}}) {
      observe(cut, 3, first, from, to, pool);
      observe(cut, 5, second, from, to, pool);
    }
    EXPECT_EQ(cut.read(kShape).covariance, all.covariance);
    EXPECT_EQ(cut.read(kShape).mean, all.mean);
  }
}

TEST(QueryMoments, KnowWhatTheyCounted) {
  ThreadPool pool(1);
  const RopeSpec rope = {.dims = 8};
  const Rows rows = some_rows(rope, 1);
  QueryMoments moments(rope, kSinks);
  observe(moments, 0, rows, 0, 4, pool);
  EXPECT_FALSE(moments.counted_from(0));
  EXPECT_EQ(moments.read(kShape).mean, std::vector<double>(kHeads * kDim));
  observe(moments, 0, rows, 4, 9, pool);
  moments.let_go();
  EXPECT_TRUE(moments.counted_from(8));
  EXPECT_FALSE(moments.counted_from(9));
}

// Values and the triangle of products of each query head, in doubles.
TEST(QueryMoments, CountTheirBytes) {
  ThreadPool pool(1);
  const RopeSpec rope = {.dims = 8};
  const Rows rows = some_rows(rope, 5);
  QueryMoments moments(rope, kSinks);
  EXPECT_EQ(moments.bytes(), 0u);
  observe(moments, 0, rows, 0, kRows, pool);
  EXPECT_EQ(moments.bytes(), kHeads * (kDim + 3) * kDim / 2 * sizeof(double));
  moments.let_go();
  EXPECT_EQ(moments.bytes(), 0u);
}

}  // namespace
}  // namespace cairn::cache
