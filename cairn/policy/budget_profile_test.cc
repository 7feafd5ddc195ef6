// SPDX-License-Identifier: Apache-2.0
#include "cairn/policy/budget_profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <memory>
#include <numeric>

#include "cairn/base/file.h"
#include "cairn/policy/policy.h"
#include "cairn/policy/retention.h"
#include "cairn/testing/layer_scores.h"

namespace cairn {
namespace {

using ::testing::HasSubstr;

const std::string kSmall = "cairn_budgets = 1\nkeep = 0.25\nshares = [0.3, 0.2]\n";

BudgetProfile full_profile() {
  BudgetProfile profile;
  profile.model.emplace();
  for (std::size_t i = 0; i < 32; ++i) profile.model->bytes[i] = static_cast<std::uint8_t>(3 * i);
  profile.keep = 0.25;
  for (int l = 0; l < 11; ++l) profile.shares.push_back(0.1 + 0.03 * l);
  profile.policy = "prefixkv";
  profile.calibration = "8 windows of 2048 tokens from \"a\\b.txt\"";
  profile.command = "cairn tune budgets";
  profile.date = "2026-11-30";
  return profile;
}

std::string refusal(const std::string& text) {
  const auto profile = parse_budget_profile(text);
  EXPECT_FALSE(profile) << text;
  if (profile) return "";
  EXPECT_EQ(profile.error().message.find('\n'), std::string::npos);
  return profile.error().message;
}

// A file of this name, gone again with the test.
struct ProfileFile {
  explicit ProfileFile(const BudgetProfile& profile) { EXPECT_TRUE(write_budget_profile(path, profile)); }
  ~ProfileFile() { std::filesystem::remove(path); }

  const std::string path =
      (std::filesystem::temp_directory_path() / ("cairn-profile-" + std::to_string(getpid()) + ".toml")).string();
};

TEST(BudgetProfileFile, ReadsBackWhatWasWritten) {
  EXPECT_EQ(parse_budget_profile(render_budget_profile(full_profile()).value()).value(), full_profile());
  BudgetProfile least;
  least.keep = 1;
  least.shares = {1e-5};
  EXPECT_EQ(parse_budget_profile(render_budget_profile(least).value()).value(), least);
}

TEST(BudgetProfileFile, WhatIsWrongIsSaidInOneLine) {
  EXPECT_TRUE(parse_budget_profile(kSmall));
  EXPECT_THAT(refusal(""), HasSubstr("'cairn_budgets = 1' is missing"));
  EXPECT_THAT(refusal("cairn_plan = 1\n"), HasSubstr("this is no profile of budgets"));
  EXPECT_THAT(refusal("cairn_budgets = 2\n"), HasSubstr("version 2"));
  EXPECT_THAT(refusal("cairn_budgets = 1\nshares = [0.5]\n"), HasSubstr("'keep'"));
  EXPECT_THAT(refusal("cairn_budgets = 1\nkeep = 0\nshares = [0.5]\n"), HasSubstr("'keep'"));
  EXPECT_THAT(refusal("cairn_budgets = 1\nkeep = 0.5\n"), HasSubstr("'shares' is missing"));
  EXPECT_THAT(refusal("cairn_budgets = 1\nkeep = 0.5\nshares = 1\n"), HasSubstr("line 3: 'shares' must be a list"));
  EXPECT_THAT(refusal("cairn_budgets = 1\nkeep = 0.5\nshares = []\n"), HasSubstr("line 3"));
  for (const char* wrong : {"0", "-0.5", "1.5", "nan", "inf", "'x'", "[0.5]", "true"}) {
    EXPECT_THAT(refusal("cairn_budgets = 1\nkeep = 0.5\nshares = [0.5,\n" + std::string(wrong) + "]\n"),
                HasSubstr("line 4: "))
        << wrong;
  }
  EXPECT_THAT(refusal(kSmall + "sinks = 3\n"), HasSubstr("line 4: unknown key 'sinks'"));
  EXPECT_THAT(refusal(kSmall + "model = 'ab'\n"), HasSubstr("64 hexadecimal digits"));
  EXPECT_THAT(refusal(kSmall + "[found]\nwho = 'x'\n"), HasSubstr("unknown key 'who'"));
  EXPECT_THAT(refusal(kSmall + "x = \"\"\"\n"), HasSubstr("no place in a profile"));
}

TEST(BudgetProfileFile, WhatCannotBeReadIsNotWritten) {
  EXPECT_FALSE(render_budget_profile({}));
  BudgetProfile profile = full_profile();
  profile.shares[3] = std::nan("");
  EXPECT_FALSE(render_budget_profile(profile));
}

TEST(BudgetProfilePart, IsReadAsThePolicyIs) {
  const ProfileFile file(full_profile());
  const std::string text = "tova+keep=0.5+profile=" + file.path;
  const PolicySpec policy = parse_policy(text).value();
  EXPECT_EQ(policy.text, text);
  EXPECT_EQ(*policy.profile, full_profile());
  EXPECT_TRUE(policy.moves_between_layers());
  EXPECT_EQ(parse_policy("prefixkv+profile=" + file.path)->text, "prefixkv+profile=" + file.path);

  const auto stranger = parse_policy("tova+profile=/no/such.toml", PolicyFiles::kRefuse);
  ASSERT_FALSE(stranger);
  EXPECT_THAT(stranger.error().message, HasSubstr("'profile' names a file"));
  EXPECT_EQ(parse_policy("tova+profile=/no/such.toml").error().code, ErrorCode::kNotFound);

  EXPECT_TRUE(check_profile_layers(policy, 11));
  EXPECT_THAT(check_profile_layers(policy, 12).error().message, HasSubstr("is for 11 layers, and this model has 12"));
  EXPECT_TRUE(check_profile_model(policy, *policy.profile->model));
  EXPECT_THAT(check_profile_model(policy, Digest{}).error().message, HasSubstr("is for another model"));
}

PolicySpec with_shares(std::vector<double> shares, double keep) {
  PolicySpec policy;
  policy.keep = keep;
  policy.sinks = 0;
  auto profile = std::make_shared<BudgetProfile>();
  profile->shares = std::move(shares);
  policy.profile = profile;
  return policy;
}

// A profile that was found again, and says the same, gives the same policy.
TEST(BudgetProfile, PoliciesAreEqualByWhatItSays) {
  PolicySpec one = parse_policy("keydiff+chunk=128").value(), other = one;
  const auto with = [&](BudgetProfile profile) { other.profile = std::make_shared<const BudgetProfile>(profile); };
  one.profile = std::make_shared<const BudgetProfile>(full_profile());
  EXPECT_FALSE(one == other);
  BudgetProfile profile = full_profile();
  with(profile);
  EXPECT_EQ(one, other);
  profile.policy = "knorm";
  profile.calibration = "another text";
  profile.command = "cairn tune budgets --again";
  profile.date = "2026-12-01";
  with(profile);
  EXPECT_EQ(one, other);
  for (int part = 0; part < 3; ++part) {
    BudgetProfile unlike = profile;
    if (part == 0) unlike.model.reset();
    if (part == 1) unlike.keep = 0.26;
    if (part == 2) unlike.shares[4] += 0.001;
    with(unlike);
    EXPECT_FALSE(one == other) << part;
  }
}

TEST(ProfileBudgets, AreItsSharesOfTheTokens) {
  SeededRandom random(1, "profile");
  const auto layers = testing::random_layers(random, {.layers = 3, .kv_heads = 2, .slots = 200});
  EXPECT_EQ(budgets_of(with_shares({0.4, 0.3, 0.05}, 0.25), layers),
            (std::vector<std::vector<std::size_t>>{{80, 80}, {60, 60}, {10, 10}}));
  // On another scale, and where a layer cannot hold so much.
  EXPECT_EQ(budgets_of(with_shares({0.4, 0.3, 0.05}, 0.125), layers),
            (std::vector<std::vector<std::size_t>>{{40, 40}, {30, 30}, {5, 5}}));
  EXPECT_EQ(budgets_of(with_shares({0.9, 0.1, 0.1}, 0.5), layers),
            (std::vector<std::vector<std::size_t>>{{200, 200}, {50, 50}, {50, 50}}));
}

// Within half a token of the shares, save for what a sum of whole numbers needs; the sum is that of `keep`.
TEST(ProfileBudgets, AddUpToWhatKeepSays) {
  SeededRandom random(2, "profile");
  for (int round = 0; round < 300; ++round) {
    std::vector<double> shares;
    for (std::size_t l = 1 + random.below(12); l > 0; --l) shares.push_back(0.05 + 0.9 * random.unit());
    const std::size_t slots = 50 + random.below(400), count = shares.size();
    const double mean = std::accumulate(shares.begin(), shares.end(), 0.0) / static_cast<double>(count);
    const auto layers = testing::random_layers(random, {.layers = count, .kv_heads = 1, .slots = slots});
    const auto budgets = budgets_of(with_shares(shares, mean), layers);
    std::size_t sum = 0;
    for (std::size_t l = 0; l < count; ++l) {
      sum += budgets[l][0];
      // The bases of the layers are rounded, and their sum is what is given out.
      ASSERT_NEAR(static_cast<double>(budgets[l][0]), shares[l] * static_cast<double>(slots), 1.0 + 0.5 / mean);
    }
    ASSERT_EQ(sum, count * static_cast<std::size_t>(std::llround(mean * static_cast<double>(slots))));
  }
}

TEST(ProfileBudgets, AreOfTheDecodedTokensWhereThePromptStays) {
  SeededRandom random(3, "profile");
  const auto layers = testing::random_layers(random, {.layers = 2, .kv_heads = 1, .slots = 160, .before = 60});
  EXPECT_EQ(budgets_of(with_shares({0.3, 0.1}, 0.2), layers), (std::vector<std::vector<std::size_t>>{{90}, {70}}));
}

}  // namespace
}  // namespace cairn
