// SPDX-License-Identifier: Apache-2.0
// What a run consists of, its journal, its counts and its tables; nothing is computed.
#include "cairn/eval/suite.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "cairn/eval/suite_report.h"
#include "cairn/eval/suite_run.h"
#include "cairn/testing/test_folder.h"

namespace cairn::eval {
namespace {

using ::testing::HasSubstr;

constexpr std::size_t kTurns = 2;

// One task, one context, two sessions of two turns, an exact contender and an evicting one.
SuiteRunSettings plan_of_two() {
  SuiteRunSettings plan;
  plan.settings = {.tasks = {"S1"}, .contexts = {512}, .sessions = 2, .turns = kTurns, .seed = 7};
  plan.contenders = {{*parse_recipe("raw_f16"), Control::kNone, 0},
                     {*parse_recipe("raw_f16+evict=0.5"), Control::kNone, 0}};
  plan.cells = cells_of(plan.contenders, plan.settings);
  return plan;
}

// right[mode][turn] of a session.
AnsweredCell answered(const Cell& cell, std::array<std::array<bool, kTurns>, 2> right, double bytes = 100) {
  AnsweredCell answer{.cell = cell, .columns = {"", ""}, .depths = {3, kUnknownDepth}, .outcome = {}};
  answer.outcome.cost = {.bytes_per_token = bytes, .bits_per_value = 16, .bytes_held = 512 * bytes, .kept = 0.5};
  answer.outcome.read_fraction = 0.25;
  answer.outcome.box_bytes = 77;
  answer.outcome.decode = {.seconds = 1.5, .tokens = 7};
  for (std::size_t mode = 0; mode < 2; ++mode) {
    for (std::uint32_t turn = 0; turn < kTurns; ++turn) {
      const bool correct = right[mode][turn];
      answer.outcome.turns.push_back({.mode = kModes[mode],
                                      .turn = turn,
                                      .score = correct ? 1.0 : 0.25,
                                      .correct = correct,
                                      .obeyed = true,
                                      .answer_tokens = 3,
                                      .hit_cap = !correct,
                                      .answer = " 12\n\xff"});
    }
  }
  return answer;
}

std::vector<AnsweredCell> answers_of_two(const SuiteRunSettings& plan) {
  constexpr std::array<std::array<bool, 2>, 2> kAll = {{{true, true}, {true, true}}};
  return {answered(plan.cells[0], kAll), answered(plan.cells[1], {{{true, true}, {true, false}}}),
          answered(plan.cells[2], {{{true, false}, {false, true}}}, 50),
          answered(plan.cells[3], {{{true, true}, {true, true}}}, 70)};
}

TEST(Suite, CellsComeInReportOrder) {
  const SuiteRunSettings plan = plan_of_two();
  ASSERT_EQ(plan.cells.size(), 4u);
  EXPECT_EQ(plan.cells[1], (Cell{0, "S1", 512, 1}));
  EXPECT_EQ(plan.cells[2], (Cell{1, "S1", 512, 0}));
}

TEST(Suite, DataCellsFollowThoseOfTheirContender) {
  SuiteRunSettings plan = plan_of_two();
  plan.contenders.push_back({*parse_recipe("raw_f16"), Control::kInstruction, 0});
  plan.data["book"].emplace_back().task = "book";
  add_data_cells(plan);
  ASSERT_EQ(plan.cells.size(), 6u);
  EXPECT_EQ(plan.cells[2], (Cell{0, "book", 512, 0}));
  EXPECT_EQ(plan.cells[5], (Cell{1, "book", 512, 0}));  // and none for the control, which is about S1
}

TEST(SuiteSummary, PairsEveryItemWithTheExactCache) {
  const SuiteRunSettings plan = plan_of_two();
  const auto answers = answers_of_two(plan);
  const auto groups = summarise_cells(answers_of(answers, 1), answers_of(answers, 0));
  const GroupCounts& request = groups.at({"S1", "", Mode::kMultiRequest, 512, {}, {}});
  EXPECT_EQ(request.items, 4u);
  EXPECT_EQ(request.correct, 3u);
  EXPECT_EQ(request.exact_correct, 3u);
  EXPECT_EQ(request.retained, 2u);
  EXPECT_EQ(request.lost, 1u);
  EXPECT_EQ(request.won, 1u);
  EXPECT_DOUBLE_EQ(request.mean_score(), 3.25 / 4);
  EXPECT_EQ(groups.at({"S1", "", Mode::kMultiRequest, 512, 1u, {}}).correct, 2u);
  EXPECT_EQ(groups.at({"S1", "", Mode::kMultiRequest, 512, {}, 3u}).items, 2u);  // the other turn has no known depth
  EXPECT_DOUBLE_EQ(mean_cost(answers_of(answers, 1)).bytes_per_token, 60);
}

TEST(SuiteSummary, TablesHoldTheCounts) {
  const SuiteRunSettings plan = plan_of_two();
  const std::string text = suite_markdown(plan, answers_of_two(plan), "tiny");
  EXPECT_THAT(
      text,
      HasSubstr("# Shared-context suite: tiny\n\nPlain form, seed 7, 2 sessions of each task and context, 2 turns."));
  // recipe, bytes, multi-turn, multi-request, retained at the second turn, lost, won, at the cap
  EXPECT_THAT(
      text,
      HasSubstr("| `raw_f16+evict=0.5` | 60 | 75.0 % [30, 95] | 75.0 % [30, 95] | 100.0 % [21, 100] | 2 | 1 | 2 |"));
  EXPECT_THAT(text, HasSubstr("| S1 key-value | 512 | 100.0 % [51, 100] | 75.0 % [30, 95] | 66.7 % [21, 94] |"));
  EXPECT_THAT(text, HasSubstr("| `raw_f16` | multi-request | 100.0 % [34, 100] | 50.0 % [9, 91] |"));
}

TEST(SuiteJson, AnswersSurviveTheRoundTrip) {
  const SuiteRunSettings plan = plan_of_two();
  const AnsweredCell before = answers_of_two(plan)[1];
  const Json json = *parse_json(json_line(answered_json(before)));
  const auto after = answered_from_json(json, before.cell);
  ASSERT_TRUE(after.has_value());
  EXPECT_EQ(json_line(answered_json(*after)), json_line(json));
  EXPECT_EQ(after->depths, before.depths);
  EXPECT_EQ(after->outcome.turns[3].correct, false);
  EXPECT_EQ(after->outcome.cost.bytes_held, 51200);
  EXPECT_EQ(after->outcome.cost.kept, 0.5);
  EXPECT_EQ(after->outcome.read_fraction, 0.25);
  EXPECT_EQ(after->outcome.box_bytes, 77);
  EXPECT_EQ(after->outcome.decode.seconds, 1.5);
  EXPECT_EQ(after->outcome.decode.tokens, 7u);
}

TEST(SuiteJson, WhatRunSessionCannotGiveIsNoAnswer) {
  const SuiteRunSettings plan = plan_of_two();
  const Json good = answered_json(answers_of_two(plan)[0]);
  const auto refused = [&](auto change) {
    Json bad = good;
    change(bad);
    return !answered_from_json(bad, plan.cells[0]).has_value();
  };
  EXPECT_FALSE(refused([](Json&) {}));
  EXPECT_TRUE(refused([](Json& json) { json.erase("turns"); }));
  EXPECT_TRUE(refused([](Json& json) { json["turns"].erase(3); }));
  EXPECT_TRUE(refused([](Json& json) { std::swap(json["turns"][0], json["turns"][1]); }));
  EXPECT_TRUE(refused([](Json& json) { json["turns"][0]["mode"] = "both"; }));
  EXPECT_TRUE(refused([](Json& json) { json["turns"][0]["score"] = 1.5; }));
  EXPECT_TRUE(refused([](Json& json) { json["turns"][0]["depth"] = 6; }));
  EXPECT_TRUE(refused([](Json& json) { json["turns"][0]["correct"] = "yes"; }));
  EXPECT_TRUE(refused([](Json& json) { json["bytes_per_token"] = -1; }));
  EXPECT_TRUE(refused([](Json& json) { json["read_fraction"] = 1.5; }));
  EXPECT_TRUE(refused([](Json& json) { json["kept"] = -0.5; }));
  EXPECT_TRUE(refused([](Json& json) { json.erase("decode_seconds"); }));
}

TEST(SuiteJson, ResultHasEveryGroupOnce) {
  const SuiteRunSettings plan = plan_of_two();
  const Json result = suite_json(suite_head({{"format", "f"}}, plan), plan, answers_of_two(plan));
  EXPECT_EQ(result["settings"]["contenders"], Json({"raw_f16", "raw_f16+evict=0.5"}));
  const Json& recipe = result["recipes"][1];
  EXPECT_EQ(recipe["kept"], 0.25);                       // half is evicted of the half that a policy kept
  EXPECT_EQ(recipe["cells"].size(), 2u * (kTurns + 1));  // modes, turns and the one known depth
  const Json& cell = recipe["cells"][0];
  EXPECT_EQ(cell["turn"].is_null(), !cell["depth"].is_null());
}

struct Journals : ::testing::Test {
  TestFolder folder;
  std::string path = folder.path() + "/run.journal";
  Json head = suite_head({{"format", "cairn.test"}}, plan_of_two());

  std::string text() const {
    std::ostringstream all;
    all << std::ifstream(path).rdbuf();
    return all.str();
  }
  void write(const std::string& all) const { std::ofstream(path, std::ios::binary) << all; }
  ErrorCode refusal(const Json& with) const {
    const auto journal = SuiteJournal::open(path, with);
    return journal.has_value() ? ErrorCode{} : journal.error().code;
  }
};

TEST_F(Journals, GoOnAfterTheLastWholeLine) {
  {
    const auto journal = SuiteJournal::open(path, head).value();
    ASSERT_TRUE(journal->append("a", 1).has_value());
    ASSERT_TRUE(journal->append("b", {{"x", "\xff"}}).has_value());
  }
  const std::string whole = text();
  write(whole + "no json\n" + R"({"key":"c","val)");
  const auto journal = SuiteJournal::open(path, head).value();
  EXPECT_EQ(journal->size(), 2u);
  EXPECT_EQ(journal->broken_lines(), 2u);
  EXPECT_EQ(*journal->find("a"), Json(1));
  EXPECT_EQ(journal->find("c"), nullptr);
  ASSERT_TRUE(journal->append("c", 3).has_value());
  EXPECT_EQ(text(), whole + "no json\n{\"key\":\"c\",\"value\":3}\n");
}

TEST_F(Journals, OfAnotherRunAreRefused) {
  SuiteJournal::open(path, head).value();
  Json other = head;
  other["settings"]["seed"] = 8;
  EXPECT_EQ(refusal(other), ErrorCode::kInvalidArgument);
  const std::string before = text();
  other["format"] = "cairn.other";
  EXPECT_EQ(refusal(other), ErrorCode::kCorrupt);
  EXPECT_EQ(text(), before);
  write("a letter");
  EXPECT_EQ(refusal(head), ErrorCode::kCorrupt);
  EXPECT_EQ(text(), "a letter");
}

TEST_F(Journals, AHeadCutShortIsWrittenAnew) {
  SuiteJournal::open(path, head).value();
  const std::string whole = text();
  write(whole.substr(0, 20));
  EXPECT_EQ(SuiteJournal::open(path, head).value()->size(), 0u);
  EXPECT_EQ(text(), whole);
}

TEST_F(Journals, TwoRunsDoNotShareOne) {
  const auto first = SuiteJournal::open(path, head).value();
  EXPECT_EQ(refusal(head), ErrorCode::kIo);
}

}  // namespace
}  // namespace cairn::eval
