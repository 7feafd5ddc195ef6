// SPDX-License-Identifier: Apache-2.0
// Sketches of keys: how near they come, and that they follow from the keys alone.
#include "cairn/cache/key_sketches.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "cairn/testing/key_pages.h"

namespace cairn::cache {
namespace {

using testing::key_pages::kBlocks;
using testing::key_pages::kDim;
using testing::key_pages::kGroup;
using testing::key_pages::kHeads;
using testing::key_pages::kShape;
using testing::key_pages::kTokens;
using testing::key_pages::Pages;
using testing::key_pages::some_queries;

constexpr std::size_t kBoxes = kTokens / kBoxTokens;

// [heads, boxes]
std::vector<float> tops_of(const KeySketches& sketches, const std::vector<float>& q) {
  std::vector<float> turned = q, tops(kHeads * kBoxes), sheet(kGroup * kSketchBoxes);
  hadamard_heads(turned, kDim);
  SketchQueries queries;
  queries.round(turned, kDim);
  for (std::uint32_t h = 0; h < kShape.kv_heads; ++h) {
    for (std::size_t s = 0; s * kSketchBoxes < kBoxes; ++s) {
      sketches.tops(h, s, queries.of_head(h * kGroup), kGroup, sheet.data());
      for (std::size_t i = 0; i < sheet.size(); ++i) {
        const std::size_t box = s * kSketchBoxes + i % kSketchBoxes;
        if (box < kBoxes) tops[(h * kGroup + i / kSketchBoxes) * kBoxes + box] = sheet[i];
      }
    }
  }
  return tops;
}

TEST(KeySketches, ComeNearTheGreatestScoreOfEachBox) {
  const Pages pages(1);
  ThreadPool pool(2);
  Reservation room = testing::key_pages::room();
  KeySketches sketches(kShape);
  const std::size_t growth = sketches.growth(kBlocks);
  sketches.cover(pages.views, kBlocks, {}, room, pool);
  EXPECT_EQ(sketches.bytes(), growth);
  EXPECT_EQ(sketches.growth(kBlocks), 0u);
  double off = 0, wide = 0;
  for (std::uint64_t seed = 1; seed < 6; ++seed) {
    const std::vector<float> q = some_queries(seed), tops = tops_of(sketches, q);
    for (std::size_t head = 0; head < kHeads; ++head) {
      for (std::size_t b = 0; b < kBoxes; ++b) {
        double best = -1e9;
        for (std::size_t t = b * kBoxTokens; t < (b + 1) * kBoxTokens; ++t) {
          double sum = 0;
          for (std::size_t c = 0; c < kDim; ++c) {
            sum += double{q[head * kDim + c]} * pages.key(head / kGroup, t, c);
            wide += std::pow(double{q[head * kDim + c]} * pages.key(head / kGroup, t, c), 2) / kBoxTokens;
          }
          best = std::max(best, sum);
        }
        off += std::pow(double{tops[head * kBoxes + b]} - best, 2);
      }
    }
  }
  EXPECT_LT(off, 0.2 * wide);
  EXPECT_GT(off, 1e-4 * wide);  // two bits are two bits
}

TEST(KeySketches, FollowFromTheKeysHoweverTheyCame) {
  const Pages pages(2), others(3);
  ThreadPool pool(2);
  Reservation room = testing::key_pages::room();
  const std::vector<float> q = some_queries(2);
  KeySketches at_once(kShape), by_one(kShape);
  at_once.cover(pages.views, kBlocks, {}, room, pool);
  for (std::size_t b = 1; b <= kBlocks; ++b) by_one.cover(pages.views, b, {}, room, pool);
  const std::vector<float> expected = tops_of(at_once, q);
  EXPECT_EQ(tops_of(by_one, q), expected);
  // A copy that goes another way leaves the first one alone, and comes back to it.
  KeySketches copy = at_once;
  for (const std::size_t left : {std::size_t{8}, std::size_t{6}, std::size_t{3}}) {
    copy.shrink(left);
    copy.cover(others.views, kBlocks, {}, room, pool);
    EXPECT_NE(tops_of(copy, q), expected);
    EXPECT_EQ(tops_of(at_once, q), expected);
    copy.shrink(0);
    copy.cover(pages.views, kBlocks, {}, room, pool);
    EXPECT_EQ(tops_of(copy, q), expected);
  }
}

// Keys and queries that are no numbers, too great or too small: nothing is undefined, and what has a score has a
// number.
TEST(KeySketches, HostileNumbersBecomeSomeNumber) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float hostile[] = {std::nanf(""), kInfinity, -kInfinity, 3e38f, -3e38f, 1e-45f, 1e-38f, 0.0f};
  Pages pages(4);
  std::vector<float> row(2 * kDim, 1e30f);
  row[kDim] = -3e38f;
  pages.format.codec->store_token(pages.format, pages.bytes[1].data(), 5, row.data());
  ThreadPool pool(2);
  Reservation room = testing::key_pages::room();
  KeySketches sketches(kShape);
  sketches.cover(pages.views, kBlocks, {}, room, pool);
  for (const float top : tops_of(sketches, some_queries(1))) EXPECT_TRUE(std::isfinite(top));
  for (const float value : hostile) {
    for (std::size_t at = 0; at < kDim; ++at) {
      std::vector<float> q = some_queries(at);
      q[at] = value;
      SketchQueries queries;
      queries.round(q, kDim);
      const SketchQuery& first = *queries.of_head(0);
      EXPECT_TRUE(std::isfinite(first.scale) && first.scale >= 0) << value;
      std::int32_t sum = 0;
      for (std::size_t d = 0; d < kDim; ++d) sum += first.codes[d];
      EXPECT_EQ(first.sum, sum) << value;
      if (!std::isfinite(value)) {
        EXPECT_EQ(first.codes[at], 0) << value;
      }
    }
    SketchQueries tiny;
    const std::vector<float> all(kHeads * kDim, value);
    tiny.round(all, kDim);
    EXPECT_TRUE(std::isfinite(tiny.of_head(0)->scale)) << value;
  }
}

}  // namespace
}  // namespace cairn::cache
