// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/request_policies.h"

#include <gtest/gtest.h>

#include "cairn/testing/tiny_engine.h"
#include "cairn/testing/tiny_model.h"

namespace cairn {
namespace {

using Names = std::vector<std::string>;

RequestPolicies allowing(const Names& names) {
  auto policies = RequestPolicies::parse(names);
  EXPECT_TRUE(policies) << (policies ? "" : policies.error().message);
  return *std::move(policies);
}

std::string refusal(const RequestPolicies& policies, std::string_view asked) {
  const auto chosen = policies.choose(asked);
  return chosen ? "" : chosen.error().message;
}

TEST(RequestPoliciesTest, WhatTheOperatorNamesMayBeAskedForWithAnyParts) {
  const RequestPolicies some = allowing({"quest", "full"});
  EXPECT_EQ(some.text(), "quest, full");
  EXPECT_EQ((*some.choose("quest+keep=0.125"))->text, "quest+keep=0.125");
  EXPECT_EQ(refusal(some, "keydiff"),
            "'keydiff' may not be asked for here; the server's option --request-policies allows quest, full");
  EXPECT_EQ((*allowing({"all"}).choose("keydiff"))->text, "keydiff");
}

// A replay computes the prompt twice: who allows a cheap policy does not allow that.
TEST(RequestPoliciesTest, PartsBringInNoScorerThatIsNotAllowed) {
  const RequestPolicies cheap = allowing({"keydiff", "quest"}), both = allowing({"keydiff", "kvzip"});
  EXPECT_EQ((*cheap.choose("keydiff+budget=prefix"))->text, "keydiff+budget=prefix");
  EXPECT_EQ((*cheap.choose("quest+keep=0.5"))->text, "quest+keep=0.5");
  EXPECT_NE(refusal(cheap, "keydiff+scorer=replay"), "");
  EXPECT_NE(refusal(cheap, "keydiff+scorer=knorm"), "");
  EXPECT_EQ(refusal(both, "keydiff+scorer=replay"), "");
  EXPECT_EQ(refusal(allowing({"all"}), "keydiff+scorer=replay"), "");
}

TEST(RequestPoliciesTest, FullAndNoneSwitchAPolicyOffWhereTheyAreAllowed) {
  for (const Names& names : {Names{"full"}, Names{"all"}}) {
    for (const char* asked : {"full", "none"}) {
      const auto chosen = allowing(names).choose(asked);
      ASSERT_TRUE(chosen) << asked;
      EXPECT_FALSE(*chosen) << asked;
    }
  }
  EXPECT_NE(refusal(allowing({"quest"}), "none"), "");
}

TEST(RequestPoliciesTest, ByDefaultNothingMayBeAskedFor) {
  for (const RequestPolicies& none : {RequestPolicies(), allowing({}), allowing({"none"})}) {
    EXPECT_EQ(none.text(), "none");
    for (const char* asked : {"quest", "full", "none", "no-such", ""}) {
      EXPECT_NE(refusal(none, asked).find("--request-policies"), std::string::npos) << asked;
    }
  }
}

TEST(RequestPoliciesTest, WhatIsWrongIsSaid) {
  const RequestPolicies all = allowing({"all"});
  EXPECT_NE(refusal(all, "quets").find("no token policy 'quets'; there are: quest"), std::string::npos);
  EXPECT_NE(refusal(all, "quest+keydiff").find("two token policies at once"), std::string::npos);
  EXPECT_NE(refusal(all, "quest+keep=0").find("above 0"), std::string::npos);
  EXPECT_NE(refusal(all, "keydiff+profile=/etc/x.toml").find("'profile' names a file"), std::string::npos);
  for (const Names& names : {Names{"quets"}, Names{"all", "quest"}, Names{"quest", "none"}, Names{"quest+keep=0.5"}}) {
    EXPECT_FALSE(RequestPolicies::parse(names)) << names[0];
  }
}

TEST(RequestPoliciesTest, ACodecThatCannotFollowANamedOneIsToldAtOnce) {
  EngineOptions options;
  options.kv_budget_bytes = std::size_t{64} << 20;
  for (const bool able : {true, false}) {
    options.codec = able ? "raw_f16" : "zip";
    const auto engine = *load_tiny(long_context_model(), options);
    const KvCacheOptions& cache = engine->cache().options();
    EXPECT_EQ(allowing({"quest", "full"}).check(cache).has_value(), able);
    EXPECT_TRUE(allowing({"full"}).check(cache));
    EXPECT_TRUE(allowing({"all"}).check(cache));
  }
}

}  // namespace
}  // namespace cairn
