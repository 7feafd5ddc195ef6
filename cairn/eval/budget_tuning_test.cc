// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/budget_tuning.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "cairn/base/random.h"
#include "cairn/cache/token_policy.h"
#include "cairn/testing/tiny_engine.h"
#include "cairn/testing/tiny_model.h"

namespace cairn::eval {
namespace {

using ::testing::HasSubstr;

class BudgetTuningTest : public ::testing::Test {
 protected:
  BudgetTuningTest() {
    TinyModel model;
    model.layers = 3;
    model.context = 2048;
    engine_ = load_tiny(model.builder().build(), {.threads = 2, .kv_budget_bytes = 64 << 20, .reuse = false}).value();
    SeededRandom random(5);
    for (TokenId& token : tokens_) token = static_cast<TokenId>(random.below(engine_->config().vocab));
  }
  std::string refusal(const BudgetTuning& tuning) const {
    const auto tuned = tune_budgets(*engine_, tokens_, tuning);
    return tuned ? "" : tuned.error().message;
  }

  std::unique_ptr<Engine> engine_;
  std::vector<TokenId> tokens_ = std::vector<TokenId>(1000);
  const BudgetTuning tuning_ = {.policy = "prefixkv", .windows = 3, .context = 320, .kv_budget_bytes = 64 << 20};
};

TEST_F(BudgetTuningTest, FindsTheMeanOfWhatLayersKeep) {
  std::size_t last = 0, total = 0;
  const auto tuned = tune_budgets(*engine_, tokens_, tuning_, {.on_progress = [&](std::size_t done, std::size_t of) {
    EXPECT_GT(done, last);
    last = done;
    total = of;
  }});
  ASSERT_TRUE(tuned) << tuned.error().message;
  EXPECT_EQ(last, 3u * 320);
  EXPECT_EQ(total, last);
  const BudgetProfile& profile = tuned->profile;
  EXPECT_EQ(profile.model, engine_->recipe().weights);
  EXPECT_EQ(profile.policy, "prefixkv");
  ASSERT_EQ(profile.shares.size(), 3u);
  EXPECT_NEAR(profile.keep, 0.25, 1e-4);
  EXPECT_NEAR(std::accumulate(profile.shares.begin(), profile.shares.end(), 0.0), 0.75, 1e-4);
  EXPECT_NE(profile.shares[0], profile.shares[2]);
  // One window by hand: the first is that of the text's beginning.
  BudgetTuning first = tuning_;
  first.windows = 1;
  const auto one = tune_budgets(*engine_, tokens_, first);
  const auto own = engine_->sibling({.kv_budget_bytes = 64 << 20, .policy = "prefixkv", .reuse = false});
  Sequence sequence = (*own)->open({});
  std::vector<TokenId> window(tokens_.begin(), tokens_.begin() + 320);
  if (engine_->tokenizer().adds_bos()) window.front() = *engine_->tokenizer().bos();
  ASSERT_TRUE((*own)->prefill(sequence, window));
  const auto layers = sequence.policy_report().layers;
  for (std::size_t l = 0; l < 3; ++l) {
    EXPECT_NEAR(one->profile.shares[l], static_cast<double>(layers[l].kept) / static_cast<double>(layers[l].before),
                1e-5);
    EXPECT_EQ(one->spread[l], 0);
  }
}

TEST_F(BudgetTuningTest, UniformPoliciesGetBudgetsByPrefix) {
  EXPECT_EQ(budget_policy("keydiff+keep=0.5")->text, "keydiff+keep=0.5+budget=prefix");
  EXPECT_EQ(budget_policy("pyramidkv")->text, "pyramidkv");
  EXPECT_EQ(budget_policy("kvzip")->text, "kvzip");
}

TEST_F(BudgetTuningTest, WhatHasNoBudgetsIsRefused) {
  for (const auto& [policy, why] : {std::pair("quest", "it keeps every token"),
                                    {"full", "it keeps every token"},
                                    {"none", "it keeps every token"},
                                    {"keydiff+keep=1", "give a keep below 1"},
                                    {"decode-evict", "keeps prompts whole"},
                                    {"keydiff+chunk=64", "leave chunk out"},
                                    {"keydiff+demote=kivi2-g32", "leave demote out"}}) {
    BudgetTuning tuning = tuning_;
    tuning.policy = policy;
    EXPECT_THAT(refusal(tuning), HasSubstr(why)) << policy;
  }
  BudgetTuning tuning = tuning_;
  tuning.context = 1001;
  EXPECT_THAT(refusal(tuning), HasSubstr("has 1000 tokens, but a window 1001"));
  tuning = tuning_;
  tuning.policy = "no-such";
  EXPECT_THAT(refusal(tuning), HasSubstr("no token policy 'no-such'"));
}

TEST_F(BudgetTuningTest, WindowsLieSideBySide) {
  BudgetTuning many = tuning_;
  many.windows = 10000;
  const auto tuned = tune_budgets(*engine_, tokens_, many), three = tune_budgets(*engine_, tokens_, tuning_);
  ASSERT_TRUE(tuned);
  EXPECT_EQ(tuned->windows, 3u);  // 1000 tokens
  EXPECT_EQ(tuned->profile.shares, three->profile.shares);
  EXPECT_EQ(tuned->spread, three->spread);
  many.context = 1000;
  EXPECT_EQ(tune_budgets(*engine_, tokens_, many)->windows, 1u);
}

TEST_F(BudgetTuningTest, StopsWhenItIsTold) {
  const std::atomic<bool> cancel = true;
  const auto tuned = tune_budgets(*engine_, tokens_, tuning_, {.on_progress = {}, .cancel = &cancel});
  ASSERT_FALSE(tuned);
  EXPECT_EQ(tuned.error().code, ErrorCode::kCancelled);
}

}  // namespace
}  // namespace cairn::eval
