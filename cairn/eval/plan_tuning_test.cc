// SPDX-License-Identifier: Apache-2.0
// Plans for a tiny random model. What is chosen among measured units is tested in cairn/tune.
#include "cairn/eval/plan_tuning.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cairn/base/random.h"
#include "cairn/testing/tiny_engine.h"
#include "cairn/testing/tiny_model.h"

namespace cairn::eval {
namespace {

using testing::HasSubstr;

class PlanTuningTest : public ::testing::Test {
 protected:
  PlanTuningTest() {
    TinyModel model;
    model.head_dim = 16;
    engine_ = load_tiny(model.builder().build(), {.threads = 2, .kv_budget_bytes = 64 << 20, .reuse = false}).value();
    SeededRandom random(5);
    for (TokenId& token : tokens_) token = static_cast<TokenId>(random.below(engine_->config().vocab));
    tuning_ = {.candidates = {"tok4", "tok8", "raw_f16"},
               .codebooks = {},
               .max_bits = 9,
               .prompts = 1,
               .validation = 1,
               .context = 192,
               .validated = 2,
               .judged = 6,
               .kv_budget_bytes = 16 << 20};
  }

  std::unique_ptr<Engine> engine_;
  std::vector<TokenId> tokens_ = std::vector<TokenId>(2 * 192);
  PlanTuning tuning_;
};

TEST_F(PlanTuningTest, APlanWithinTheCapOnBitsIsFoundAndMeasured) {
  for (const tune::TuneMethod method : {tune::TuneMethod::kExact, tune::TuneMethod::kSearch}) {
    tuning_.method = method;
    std::vector<std::string> stages;
    const auto tuned = tune_plan(*engine_, tokens_, tuning_, {.on_progress = [&](std::string_view stage, double share) {
      EXPECT_LE(share, 1);
      if (stages.empty() || stages.back() != stage) stages.emplace_back(stage);
    }});
    ASSERT_TRUE(tuned) << tuned.error().message;
    const MeasuredPlan& best = tuned->plans[tuned->best];
    EXPECT_LE(best.bits, 9);
    EXPECT_GT(best.measured_kl, 0);
    EXPECT_EQ(best.plan.layers.size(), engine_->config().layers);
    EXPECT_EQ(tuned->plans.back().name, "uniform raw_f16");
    EXPECT_EQ(tuned->plans.back().measured_kl, 0);
    EXPECT_EQ(stages.front(), "Errors of units");
    EXPECT_EQ(stages.back(), "Measuring the best plans");
  }
}

TEST_F(PlanTuningTest, ACapOnDivergenceTakesTheFewestBytesWithinIt) {
  tuning_.max_bits = 0;
  tuning_.max_kl = 100;
  const auto loose = tune_plan(*engine_, tokens_, tuning_);
  ASSERT_TRUE(loose) << loose.error().message;
  for (const LayerPlan& layer : loose->plans[loose->best].plan.layers) EXPECT_EQ(layer.keys->name, "tok4");
  tuning_.candidates = {"tok4", "kivi2-g64"};
  tuning_.max_kl = 1e-12;
  const auto strict = tune_plan(*engine_, tokens_, tuning_);
  ASSERT_FALSE(strict);
  EXPECT_EQ(strict.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(strict.error().message, HasSubstr("the best has"));
}

TEST_F(PlanTuningTest, RefusesWhatCannotBeMeasured) {
  tokens_.pop_back();
  EXPECT_THAT(tune_plan(*engine_, tokens_, tuning_).error().message, HasSubstr("383 tokens, but 384 are needed"));
  tuning_.candidates = {"tok5"};
  EXPECT_EQ(tune_plan(*engine_, tokens_, tuning_).error().code, ErrorCode::kUnsupported);
}

TEST_F(PlanTuningTest, EndsWhenItIsCancelled) {
  const std::atomic<bool> cancel{true};
  EXPECT_EQ(tune_plan(*engine_, tokens_, tuning_, {.cancel = &cancel}).error().code, ErrorCode::kCancelled);
}

}  // namespace
}  // namespace cairn::eval
