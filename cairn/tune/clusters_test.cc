// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <limits>

#include "cairn/testing/tune_units.h"
#include "cairn/tune/choice.h"

namespace cairn::tune {
namespace {

using testing::any;

using ::testing::HasSubstr;
using Members = std::vector<std::vector<std::size_t>>;

Unit layer(const std::string& name, const std::vector<double>& errors) {
  Unit unit{name, {}};
  for (const double error : errors) {
    const std::size_t c = unit.choices.size();
    unit.choices.push_back({"c" + std::to_string(c), 100 * (c + 1), double(c + 2), error});
  }
  return unit;
}

Members members_of(const std::vector<Unit>& units, const ClusterOptions& options) {
  Members members;
  const auto clusters = cluster_units(units, options);
  for (const Cluster& cluster : *clusters) members.push_back(cluster.members);
  return members;
}

TEST(PairUnit, HoldsEveryPair) {
  const Unit keys{"layer 0 keys", {{"k4", 40, 4, 1}, {"k2", 20, 2, 5}}};
  const Unit values{"layer 0 values", {{"v4", 44, 4.5, 0.5}, {"v2", 22, 2.5, 2}, {"v1", 11, 1.5, 3}}};
  const Unit sums = *pair_unit(keys, values);
  ASSERT_EQ(sums.choices.size(), 6u);
  EXPECT_EQ(sums.name, "layer 0 keys and layer 0 values");
  EXPECT_EQ(sums.choices[1 * 3 + 0].name, "k2/v4");
  EXPECT_EQ(sums.choices[1 * 3 + 0].bytes, 64u);
  EXPECT_EQ(sums.choices[1 * 3 + 0].bits, 3.25);
  EXPECT_EQ(sums.choices[1 * 3 + 0].error, 5.5);
  const std::vector<double> measured = {6, 5, 4, 3, 2, 1};
  const Unit both = *pair_unit(keys, values, measured);
  for (std::size_t i = 0; i < measured.size(); ++i) EXPECT_EQ(both.choices[i].error, measured[i]);
  EXPECT_THAT(pair_unit(keys, values, {measured.data(), 5}).error().message, HasSubstr("5 errors for 6 pairs"));
}

TEST(ClusterUnits, LikeErrorsGoTogether) {
  const std::vector<Unit> units = {layer("l0", {9, 3, 1}), layer("l1", {90, 30, 10}), layer("l2", {9.5, 3.1, 1.2}),
                                   layer("l3", {80, 33, 9}), layer("l4", {9, 3, 0.4})};
  EXPECT_EQ(members_of(units, {.factor = 1.3}), (Members{{0, 2}, {1, 3}, {4}}));
  EXPECT_EQ(members_of(units, {.factor = 1}), (Members{{0}, {1}, {2}, {3}, {4}}));
  EXPECT_EQ(members_of(units, {.factor = 1e9}), (Members{{0, 1, 2, 3, 4}}));
}

TEST(ClusterUnits, OtherChoicesAreNeverAlike) {
  std::vector<Unit> units = {layer("l0", {2, 1}), layer("l1", {2, 1}), layer("l2", {2, 1, 0.5})};
  units[1].choices[1].name = "other";
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(members_of(units, {.factor = infinity}), (Members{{0}, {1}, {2}}));
}

TEST(ClusterUnits, NothingIsLikeExactBesidesExact) {
  const std::vector<Unit> units = {layer("l0", {2, 0}), layer("l1", {2, 1e-9}), layer("l2", {2, 0})};
  EXPECT_EQ(members_of(units, {.factor = 10}), (Members{{0, 2}, {1}}));
}

// A line of units, each 1.2 times the one before: ends with fewer than three neighbours are rims, not cores.
TEST(ClusterUnits, RimsJoinTheNearestCoreAndDoNotConnect) {
  const std::vector<Unit> line = {layer("l0", {1}),    layer("l1", {1.2}),  layer("l2", {1.44}),
                                  layer("l3", {1.72}), layer("l4", {2.05}), layer("l5", {2.4})};
  EXPECT_EQ(members_of(line, {.factor = 1.25, .core_neighbours = 3}), (Members{{0, 1, 2, 3, 4, 5}}));
  EXPECT_EQ(members_of(line, {.factor = 1.25, .core_neighbours = 4}), (Members{{0}, {1}, {2}, {3}, {4}, {5}}));
  // A rim between two cores: near both, part of the nearer, and no bridge.
  const std::vector<Unit> bridge = {layer("l0", {1}),    layer("l1", {1.01}), layer("l2", {1.02}),
                                    layer("l3", {1.03}), layer("l4", {1.2}),  layer("l5", {1.4}),
                                    layer("l6", {1.41}), layer("l7", {1.42}), layer("l8", {1.43})};
  EXPECT_EQ(members_of(bridge, {.factor = 1.168, .core_neighbours = 4}), (Members{{0, 1, 2, 3, 4}, {5, 6, 7, 8}}));
}

TEST(ClusterUnits, AddUp) {
  ASSERT_TRUE(rc::check([] {
    std::vector<Unit> units;
    for (int u = any(1, 8); u > 0; --u) {
      units.push_back(layer("l", {1.0 + any(0, 5), any(0, 5) / 4.0}));
    }
    const auto clusters = cluster_units(units, {.factor = 2, .core_neighbours = any<std::size_t>(1, 4)});
    RC_ASSERT(clusters.has_value());
    std::vector<Unit> of_clusters;
    std::vector<std::size_t> picks;
    std::vector<int> seen(units.size(), 0);
    for (const Cluster& cluster : *clusters) {
      of_clusters.push_back(cluster.unit);
      picks.push_back(any<std::size_t>(0, 2));
      for (const std::size_t member : cluster.members) ++seen[member];
    }
    RC_ASSERT(std::ranges::all_of(seen, [](int times) { return times == 1; }));
    const Cost together = total_cost(of_clusters, picks), apart = total_cost(units, member_picks(*clusters, picks));
    RC_ASSERT(together.bytes == apart.bytes);
    RC_ASSERT(std::abs(together.error - apart.error) < 1e-12 * (1 + apart.error));
  }));
}

TEST(ClusterUnits, RefusesWhatMakesNoSense) {
  const std::vector<Unit> units = {layer("l0", {1})};
  for (const double bad : {0.9, -1.0, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_EQ(cluster_units(units, {.factor = bad}).error().code, ErrorCode::kInvalidArgument);
  }
  EXPECT_FALSE(cluster_units({}, {}));
}

}  // namespace
}  // namespace cairn::tune
