// SPDX-License-Identifier: Apache-2.0
// What is taken back leaves nothing in the attention of probes: passes that did not happen, cuts, replays of another
// prompt.
#include "cairn/cache/probe_queries.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "cairn/testing/key_pages.h"

namespace cairn::cache {
namespace {

using testing::key_pages::kHeads;
using testing::key_pages::kShape;
using testing::key_pages::Pages;
using testing::key_pages::some_queries;

constexpr std::uint32_t kWindow = 8;

class ProbeQueriesTest : public ::testing::Test {
 protected:
  // Rows at positions [first, end), each with queries of its own.
  void observe(ProbeQueries& probes, std::int32_t first, std::int32_t end) {
    std::vector<float> q, softmax;
    std::vector<std::int32_t> positions;
    for (std::int32_t position = first; position < end; ++position) {
      const std::vector<float> own = some_queries(static_cast<std::uint64_t>(position));
      q.insert(q.end(), own.begin(), own.end());
      positions.push_back(position);
      for (std::uint32_t h = 0; h < kHeads; ++h) softmax.insert(softmax.end(), {4.0f, 30.0f});
    }
    probes.observe(0,
                   {.q = q.data(),
                    .positions = positions.data(),
                    .rows = static_cast<std::uint32_t>(positions.size()),
                    .pages = pages_.views,
                    .more_pages = {},
                    .out = nullptr,
                    .softmax = softmax.data()},
                   {.shape = kShape, .heads = kHeads}, pool_);
  }
  std::vector<float> mass(const ProbeQueries& probes) const {
    std::vector<float> mass;
    std::vector<std::uint32_t> seen_by;
    probes.read(kShape.kv_heads, pages_.views, mass, seen_by);
    for (const std::uint32_t seen : seen_by) mass.push_back(static_cast<float>(seen));
    return mass;
  }
  std::vector<float> counted(ProbeQueries probes) {
    probes.count_last(pages_.views, pool_);
    return mass(probes);
  }
  // The window of a sequence that has `end` tokens and computed them at once.
  std::vector<float> straight(std::int32_t end) {
    ProbeQueries probes(Probes::kLast, MassRule::kSum, kWindow);
    observe(probes, 0, end);
    probes.commit();
    return counted(probes);
  }

  ThreadPool pool_{2};
  Pages pages_{1};
};

TEST_F(ProbeQueriesTest, APassThatDidNotHappenTakesNothingFromTheWindow) {
  ProbeQueries probes(Probes::kLast, MassRule::kSum, kWindow);
  observe(probes, 0, 20);
  probes.commit();
  for (const std::int32_t rows : {3, 50, 200}) {
    observe(probes, 20, 20 + rows);
    probes.forget_from(20);
    EXPECT_EQ(counted(probes), straight(20)) << rows;
  }
  observe(probes, 20, 23);
  probes.commit();
  EXPECT_EQ(counted(probes), straight(23));
  EXPECT_NE(straight(23), straight(20));
}

TEST_F(ProbeQueriesTest, ACutEndsWhereTheWindowWouldLackQueries) {
  ProbeQueries probes(Probes::kLast, MassRule::kSum, kWindow);
  observe(probes, 0, 30);
  probes.commit();
  observe(probes, 30, 40);
  probes.commit();
  EXPECT_FALSE(probes.lacks_before(32));  // of the last 16 it has 24 to 31
  EXPECT_TRUE(probes.lacks_before(31));
  EXPECT_FALSE(probes.counted_from(31));
  probes.forget_from(32);
  EXPECT_EQ(counted(probes), straight(32));
}

// A prefix from the index comes without its queries.
TEST_F(ProbeQueriesTest, WhatWasFoundHasNoQueries) {
  ProbeQueries probes(Probes::kLast, MassRule::kSum, kWindow);
  observe(probes, 64, 74);
  probes.commit();
  EXPECT_EQ(counted(probes), straight(74));
  EXPECT_FALSE(probes.lacks_before(72));
  EXPECT_TRUE(probes.lacks_before(71));
}

TEST_F(ProbeQueriesTest, AReplayDoesNotRememberTheOneBefore) {
  const auto replayed = [&](ProbeQueries& probes, std::int32_t end) {
    ProbeQueries twin = probes;
    twin.begin_replay();
    observe(twin, 100, end);
    probes.absorb(twin);
  };
  ProbeQueries probes(Probes::kReplay, MassRule::kGreatest, 0), fresh = probes, both = probes;
  replayed(probes, 160);
  probes.forget_replays();
  replayed(probes, 110);
  replayed(fresh, 110);
  EXPECT_EQ(mass(probes), mass(fresh));
  replayed(both, 160);  // parts of one prompt, whose replays go together
  replayed(both, 110);
  EXPECT_NE(mass(both), mass(fresh));
}

}  // namespace
}  // namespace cairn::cache
