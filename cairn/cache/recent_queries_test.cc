// SPDX-License-Identifier: Apache-2.0
// The window of a sequence's last queries: over passes of any length, passes that did not happen, and cuts.
#include "cairn/cache/recent_queries.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

namespace cairn::cache {
namespace {

constexpr std::uint32_t kWindow = 5;

// Rows of one head with two channels: the layer and the position.
void observe(RecentQueries& queries, std::uint32_t layer, std::int32_t from, std::int32_t to) {
  std::vector<std::int32_t> positions(static_cast<std::size_t>(to - from));
  std::iota(positions.begin(), positions.end(), from);
  std::vector<float> q;
  for (const std::int32_t position : positions) {
    q.push_back(static_cast<float>(layer));
    q.push_back(static_cast<float>(position));
  }
  queries.observe(layer,
                  {.q = q.data(),
                   .positions = positions.data(),
                   .rows = static_cast<std::uint32_t>(positions.size()),
                   .pages = {},
                   .more_pages = {},
                   .out = nullptr},
                  1, 2);
}

std::vector<int> window(const RecentQueries& queries, std::uint32_t layer) {
  std::vector<int> positions;
  for (const float* q : queries.window(layer)) {
    EXPECT_EQ(q[0], static_cast<float>(layer));
    positions.push_back(static_cast<int>(q[1]));
  }
  return positions;
}

TEST(RecentQueries, TheWindowDoesNotDependOnPasses) {
  for (const std::int32_t step : {1, 2, 3, 7, 40}) {
    RecentQueries queries(kWindow);
    for (std::int32_t at = 0; at < 40; at += step) {
      for (std::int32_t next = at; next < std::min(at + step, 40); ++next) {
        for (const std::uint32_t layer : {0u, 3u}) observe(queries, layer, next, next + 1);
        std::vector<int> expected;
        for (std::int32_t p = std::max(0, next - 4); p <= next; ++p) expected.push_back(p);
        ASSERT_EQ(window(queries, 0), expected) << step;
        ASSERT_EQ(window(queries, 3), expected) << step;
      }
      queries.commit();
    }
  }
}

TEST(RecentQueries, APassThatDidNotHappenLeavesNothing) {
  RecentQueries queries(kWindow);
  observe(queries, 0, 0, 8);
  queries.commit();
  observe(queries, 0, 8, 40);
  EXPECT_EQ(window(queries, 0), (std::vector<int>{35, 36, 37, 38, 39}));
  queries.roll_back();
  EXPECT_EQ(window(queries, 0), (std::vector<int>{3, 4, 5, 6, 7}));
}

TEST(RecentQueries, KnowHowFarTheyCanBeCut) {
  RecentQueries queries(kWindow);
  observe(queries, 0, 0, 9);
  queries.commit();
  EXPECT_FALSE(queries.lacks_before(1));  // nothing was let go
  observe(queries, 0, 9, 20);
  queries.commit();  // 10 to 19 are kept
  EXPECT_TRUE(queries.lacks_before(13));
  EXPECT_FALSE(queries.lacks_before(14));
  queries.forget_from(14);
  observe(queries, 0, 14, 15);
  EXPECT_EQ(window(queries, 0), (std::vector<int>{10, 11, 12, 13, 14}));
}

// A prefix came from the index: its queries are not there.
TEST(RecentQueries, KnowThatAPrefixHasNone) {
  RecentQueries queries(kWindow);
  EXPECT_FALSE(queries.lacks_before(64));
  observe(queries, 0, 64, 70);
  queries.commit();
  EXPECT_TRUE(queries.lacks_before(67));
  EXPECT_FALSE(queries.lacks_before(68));
}

TEST(RecentQueries, CountTheirBytes) {
  RecentQueries queries(kWindow);
  observe(queries, 0, 0, 3);
  EXPECT_EQ(queries.bytes(), 3 * 2 * sizeof(float));
  queries.roll_back();
  EXPECT_EQ(queries.bytes(), 0u);
  for (const std::uint32_t layer : {0u, 3u}) observe(queries, layer, 0, 40);
  queries.commit();
  EXPECT_EQ(queries.bytes(), 2 * 2 * kWindow * 2 * sizeof(float));  // of each layer twice the window
}

}  // namespace
}  // namespace cairn::cache
