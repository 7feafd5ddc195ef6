// SPDX-License-Identifier: Apache-2.0
// Runs of the suite on the model of the repository: who answers a cell changes nothing.
#include "cairn/eval/suite_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cairn/eval/suite_report.h"
#include "cairn/testing/test_folder.h"

namespace cairn::eval {
namespace {

std::unique_ptr<Engine> engine() {
  return Engine::load(CAIRN_SOURCE_DIR "/models/cairn-tiny-f16.gguf",
                      {.threads = 1, .kv_budget_bytes = 64 << 20, .reuse = false})
      .value();
}

SuiteRunSettings small_plan() {
  SuiteRunSettings plan;
  plan.settings = {.tasks = {"S1"}, .contexts = {256}, .sessions = 2, .turns = 2, .seed = 1};
  plan.contenders = {{*parse_recipe("raw_f16"), Control::kNone, 0},
                     {*parse_recipe("raw_f16+evict=0.5"), Control::kNone, 0}};
  plan.cells = cells_of(plan.contenders, plan.settings);
  return plan;
}

SuiteRunControl control(unsigned workers = 1) {
  return {.load = [] { return Result<std::unique_ptr<Engine>>(engine()); },
          .workers = workers,
          .kv_budget_bytes = 64 << 20};
}

std::string text_of(const SuiteRunSettings& plan, const std::vector<AnsweredCell>& answers) {
  return dump_json(suite_json({}, plan, answers));
}

TEST(SuiteRun, WorkersAndJournalsChangeNoAnswer) {
  const SuiteRunSettings plan = small_plan();
  const auto alone = run_suite(plan, control(), engine(), nullptr).value();
  const std::string expected = text_of(plan, alone);
  EXPECT_EQ(text_of(plan, run_suite(plan, control(3), engine(), nullptr).value()), expected);

  TestFolder folder;
  const std::string path = folder.path() + "/journal";
  const Json head = suite_head({{"format", "f"}}, plan);
  SuiteRunControl stopping = control();
  std::atomic<bool> cancel = false;
  stopping.cancel = &cancel;
  std::vector<double> shares;
  stopping.on_progress = [&](double share) {
    shares.push_back(share);
    cancel = shares.size() == 3;
  };
  {
    const auto journal = SuiteJournal::open(path, head).value();
    const auto stopped = run_suite(plan, stopping, engine(), journal.get());
    ASSERT_FALSE(stopped.has_value());
    EXPECT_EQ(stopped.error().code, ErrorCode::kCancelled);
    EXPECT_EQ(stopped.error().message, "interrupted after 3 of 4 sessions; the same command goes on from there");
    EXPECT_THAT(shares, ::testing::ElementsAre(0.25, 0.5, 0.75));
  }
  const auto journal = SuiteJournal::open(path, head).value();
  EXPECT_EQ(journal->size(), 3u);
  shares.clear();
  stopping.cancel = nullptr;
  EXPECT_EQ(text_of(plan, run_suite(plan, stopping, engine(), journal.get()).value()), expected);
  EXPECT_THAT(shares, ::testing::ElementsAre(1.0));  // only what was missing is asked
}

// What a policy, or a budget, finds in the cache of another changes no answer and no figure but times.
TEST(SuiteRun, ContextsThatRecipesShareChangeNothing) {
  SuiteRunSettings plan;
  plan.settings = {.tasks = {"S1"}, .contexts = {320}, .sessions = 2, .turns = 2, .seed = 3};
  for (const char* recipe :
       {"raw_f16", "raw_f16+policy=keydiff/keep=0.5", "raw_f16+policy=snapkv/keep=0.5", "raw_f16+policy=snapkv",
        "raw_f16+policy=h2o", "raw_f16+policy=quest", "tok4", "tok4+policy=tova/keep=0.5", "tok4+policy=quest",
        "raw_f16+evict=0.5", "tok4+prefill=exact", "tok4+prefill=exact+policy=knorm", "tok4+recent=1+policy=quest"}) {
    plan.contenders.push_back({*parse_recipe(recipe), Control::kNone, 0});
  }
  plan.cells = cells_of(plan.contenders, plan.settings);
  const auto shared = run_suite(plan, control(), engine(), nullptr).value();
  ASSERT_EQ(shared.size(), plan.cells.size());
  const auto without_times = [](AnsweredCell answered) {
    answered.outcome.decode.seconds = 0;
    return json_line(answered_json(answered));
  };
  for (std::size_t c = 0; c < plan.contenders.size(); ++c) {
    SuiteRunSettings alone = plan;
    std::erase_if(alone.cells, [c](const Cell& cell) { return cell.contender != c; });
    for (const Cell& cell : alone.cells) {  // one session at a time: nothing was kept before
      SuiteRunSettings one = alone;
      one.cells = {cell};
      const auto answer = run_suite(one, control(), engine(), nullptr).value();
      const auto found = std::ranges::find(shared, cell, &AnsweredCell::cell);
      ASSERT_NE(found, shared.end());
      EXPECT_EQ(without_times(answer[0]), without_times(*found)) << plan.contenders[c].recipe.text;
    }
  }
}

TEST(SuiteRun, AWorkerWithoutAnEngineEndsTheRun) {
  SuiteRunControl broken = control(2);
  broken.load = [] { return Result<std::unique_ptr<Engine>>(fail(ErrorCode::kIo, "gone")); };
  const auto answers = run_suite(small_plan(), broken, engine(), nullptr);
  ASSERT_FALSE(answers.has_value());
  EXPECT_EQ(answers.error().message, "gone");
}

TEST(SuiteRun, WhatCannotBeAskedIsLeftOut) {
  const auto model = engine();
  SuiteRunSettings plan = small_plan();
  plan.settings.tasks = {"S1", "S11"};
  plan.settings.contexts = {128, 512};
  plan.settings.turns = 5;
  plan.cells = cells_of(plan.contenders, plan.settings);
  const std::size_t before = plan.cells.size();
  const auto lines = leave_out_impossible(plan, model->tokenizer()).value();
  ASSERT_EQ(lines.size(), plan.left_out.size());
  ASSERT_FALSE(lines.empty());
  EXPECT_THAT(plan.left_out, ::testing::Contains("S11 at 128"));
  EXPECT_THAT(lines,
              ::testing::Contains(::testing::StartsWith("S11 at 128 tokens is left out: 5 turns of S11 do not fit")));
  EXPECT_EQ(plan.cells.size(), before - 4 * lines.size());  // contenders times sessions
  plan.settings.contexts = {128};
  plan.settings.tasks = {"S11"};
  plan.cells = cells_of(plan.contenders, plan.settings);
  EXPECT_EQ(leave_out_impossible(plan, model->tokenizer()).error().code, ErrorCode::kInvalidArgument);
}

TEST(SuiteRun, ABudgetThatHoldsNoSessionIsFoundAtTheStart) {
  const auto model = engine();
  EXPECT_TRUE(check_contenders(small_plan(), 64 << 20, *model).has_value());
  EXPECT_EQ(check_contenders(small_plan(), 256 << 10, *model).error().code, ErrorCode::kOutOfBudget);
}

}  // namespace
}  // namespace cairn::eval
