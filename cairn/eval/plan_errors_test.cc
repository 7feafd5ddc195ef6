// SPDX-License-Identifier: Apache-2.0
// Mean divergences of codec plans on a tiny random model.
#include "cairn/eval/plan_errors.h"

#include <gtest/gtest.h>

#include "cairn/base/random.h"
#include "cairn/testing/tiny_engine.h"
#include "cairn/testing/tiny_model.h"

namespace cairn {
namespace {

class PlanDivergenceTest : public ::testing::Test {
 protected:
  PlanDivergenceTest() {
    TinyModel model;
    model.head_dim = 16;
    engine_ = load_tiny(model.builder().build(), {.threads = 2, .kv_budget_bytes = 64 << 20, .reuse = false}).value();
    std::vector<TokenId> text(2 * 200);
    SeededRandom random(5);
    for (TokenId& token : text) token = static_cast<TokenId>(random.below(engine_->config().vocab));
    windows_ = Windows::make(std::move(text), 1, {.context = 200}).value();
  }

  CodecPlan plan(const char* spec) const {
    const PageShape shape{engine_->config().kv_heads, engine_->config().head_dim};
    return make_plan(spec, {engine_->config().layers, shape, nullptr}).value();
  }
  Result<std::vector<double>> mean_kl(const std::vector<CodecPlan>& plans,
                                      const std::function<void(std::size_t, std::size_t)>& on_progress = {}) const {
    return PlanDivergence(*engine_, {.kv_budget_bytes = 16 << 20}, cancel_).mean_kl(plans, *windows_, on_progress);
  }

  std::unique_ptr<Engine> engine_;
  std::optional<Windows> windows_;
  std::atomic<bool> cancel_{false};
};

// One slot of one layer already shows, both show more, and coarser codes more than finer ones.
TEST_F(PlanDivergenceTest, GrowsWithWhatIsLost) {
  CodecPlan keys_of_one = plan("raw_f16");
  keys_of_one.layers.front().keys = *find_codec("kivi2-g64");
  const auto kl = mean_kl({plan("raw_f16"), plan("tok8"), keys_of_one, plan("tok4"), plan("kivi2-g64")});
  ASSERT_TRUE(kl);
  EXPECT_EQ(kl->front(), 0.0);
  EXPECT_GT((*kl)[1], 0.0);
  EXPECT_GT((*kl)[3], (*kl)[1]);
  EXPECT_GT((*kl)[4], (*kl)[3]);
  EXPECT_GT((*kl)[2], 0.0);
  EXPECT_LT((*kl)[2], (*kl)[4]);
}

// More plans than are judged at once: each is in its place, whatever runs beside it, and progress reaches the end.
TEST_F(PlanDivergenceTest, ManyPlansAreMeasuredInTheirOrder) {
  std::vector<CodecPlan> plans(19, plan("tok8"));
  plans[17] = plan("kivi2-g64");
  std::size_t last = 0, total = 0;
  const auto kl = mean_kl(plans, [&](std::size_t done, std::size_t of) {
    EXPECT_GE(done, last);
    last = done;
    total = of;
  });
  ASSERT_TRUE(kl);
  ASSERT_EQ(kl->size(), 19u);
  const double fine = mean_kl({plan("tok8")})->front(), coarse = mean_kl({plan("kivi2-g64")})->front();
  for (std::size_t i = 0; i < 19; ++i) EXPECT_EQ((*kl)[i], i == 17 ? coarse : fine) << i;
  EXPECT_EQ(total, 19 * windows_->size());
  EXPECT_EQ(last, total);
}

TEST_F(PlanDivergenceTest, EndsWhenItIsCancelled) {
  cancel_ = true;
  EXPECT_EQ(mean_kl({plan("tok4")}).error().code, ErrorCode::kCancelled);
}

}  // namespace
}  // namespace cairn
