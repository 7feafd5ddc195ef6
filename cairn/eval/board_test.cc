// SPDX-License-Identifier: Apache-2.0
// Which recipes a board tries, what its rows count, and its Pareto fronts; nothing is computed, save what a model and a
// codec cannot follow.
#include "cairn/eval/board.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "cairn/base/random.h"
#include "cairn/eval/board_report.h"
#include "cairn/policy/policy.h"

namespace cairn::eval {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> recipes_of(const BoardPlan& plan) {
  std::vector<std::string> texts;
  for (const BoardEntry& entry : plan.entries) texts.push_back(entry.recipe.text);
  return texts;
}

TEST(BoardPlan, EveryPolicyAtEveryBudgetOnEveryCodec) {
  const BoardPlan plan = plan_board({.policies = {"quest", "snapkv/budget=prefix", "quest"},
                                     .budgets = {1, 0.5, 0.125},
                                     .codecs = {"raw_f16", "tok4", "raw_f16"},
                                     .controls = false},
                                    "raw_f16")
                             .value();
  EXPECT_THAT(
      recipes_of(plan),
      ElementsAre("raw_f16", "raw_f16+policy=quest/keep=0.5", "raw_f16+policy=quest/keep=0.125",
                  "raw_f16+policy=snapkv/keep=0.5/budget=prefix", "raw_f16+policy=snapkv/keep=0.125/budget=prefix",
                  "tok4", "tok4+policy=quest/keep=0.5", "tok4+policy=quest/keep=0.125",
                  "tok4+policy=snapkv/keep=0.5/budget=prefix", "tok4+policy=snapkv/keep=0.125/budget=prefix"));
  EXPECT_EQ(plan.entries[2].family, BoardFamily::kReadSelection);
  EXPECT_EQ(plan.entries[2].policy, "quest");
  EXPECT_EQ(plan.entries[2].budget, 0.125);
  EXPECT_EQ(plan.entries[3].family, BoardFamily::kRetention);
  EXPECT_EQ(plan.entries[5].family, BoardFamily::kCodec);
  EXPECT_EQ(plan.entries[5].policy, "");
  EXPECT_EQ(plan.entries[6].codec, "tok4");
}

TEST(BoardPlan, ControlsHaveTheSameBudgets) {
  const BoardPlan plan =
      plan_board({.policies = {"h2o"}, .budgets = {0.25}, .codecs = {"tok4"}, .controls = true}, "raw_f16").value();
  // 0.25 is what a policy keeps where nothing is said, so no recipe names it.
  EXPECT_THAT(recipes_of(plan), ElementsAre("raw_f16", "tok4", "tok4+policy=h2o", "tok4+policy=random",
                                            "tok4+policy=random-read", "tok4+policy=full"));
  EXPECT_EQ(plan.entries[2].family, BoardFamily::kRunningRetention);
  for (std::size_t e = 3; e < 6; ++e) EXPECT_EQ(plan.entries[e].family, BoardFamily::kControl);
  EXPECT_EQ(plan.entries[3].budget, 0.25);
  EXPECT_EQ(plan.entries[5].budget, 1);
}

TEST(BoardPlan, WithoutNamesTheWholeTableIsTried) {
  const BoardPlan plan = plan_board({.policies = {}, .budgets = {0.5}, .codecs = {"raw_f16"}}, "raw_f16").value();
  std::set<std::string> tried;
  for (const BoardEntry& entry : plan.entries) tried.insert(entry.policy);
  tried.insert("decode-evict");  // keeps the prompt: named below
  tried.erase("");
  EXPECT_EQ(tried.size(), policy_table().size());
  for (const NamedPolicy& row : policy_table()) EXPECT_TRUE(tried.contains(std::string(row.name))) << row.name;
  EXPECT_THAT(plan.left_out, ElementsAre(HasSubstr("policy decode-evict is left out: it keeps the prompt")));
}

TEST(BoardPlan, RefusesWhatIsNoBudgetOrNoPolicy) {
  const auto refusal = [](std::vector<std::string> policies, double budget) {
    const auto plan =
        plan_board({.policies = std::move(policies), .budgets = {0.5, budget}, .codecs = {"raw_f16"}}, "raw_f16");
    return plan ? Error{} : plan.error();
  };
  for (const double budget : {0.0, -0.5, 1.5, std::nan("")}) {
    EXPECT_EQ(refusal({"quest"}, budget).code, ErrorCode::kInvalidArgument) << budget;
  }
  EXPECT_THAT(refusal({"quest"}, 0).message, HasSubstr("budget 0: a budget is the share of the tokens"));
  EXPECT_TRUE(plan_board({.policies = {"none"}, .budgets = {1}, .codecs = {}}, "raw_f16"));
  EXPECT_EQ(refusal({"nothing"}, 1).code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(refusal({"nothing"}, 1).message, HasSubstr("nothing"));
  EXPECT_THAT(refusal({"quest/keep=0.5"}, 1).message, HasSubstr("its share is the budget"));
  EXPECT_EQ(plan_board({.policies = {}, .budgets = {1}, .codecs = {"tok99"}}, "raw_f16").error().code,
            ErrorCode::kUnsupported);
}

TEST(BoardPlan, WhatACodecCannotFollowIsLeftOutWithALine) {
  const auto engine = Engine::load(CAIRN_SOURCE_DIR "/models/cairn-tiny-f16.gguf",
                                   {.threads = 1, .kv_budget_bytes = 64 << 20, .reuse = false})
                          .value();
  BoardPlan plan =
      plan_board(
          {.policies = {"keydiff"}, .budgets = {0.5, 0.25}, .codecs = {"raw_f16", "zip", "tok4"}, .controls = false},
          "raw_f16")
          .value();
  ASSERT_EQ(plan.entries.size(), 9u);
  ASSERT_TRUE(leave_out_unsupported(plan, *engine, 64 << 20));
  EXPECT_THAT(recipes_of(plan), ElementsAre("raw_f16", "raw_f16+policy=keydiff/keep=0.5", "raw_f16+policy=keydiff",
                                            "zip", "tok4", "tok4+policy=keydiff/keep=0.5", "tok4+policy=keydiff"));
  EXPECT_THAT(plan.left_out, ElementsAre(HasSubstr("policy keydiff on zip is left out: ")));
}

// right[turn] by mode: two sessions of two turns for each entry.
AnsweredCell board_answer(std::size_t entry, std::uint32_t index, std::vector<bool> multi_turn,
                          std::vector<bool> multi_request, double bytes, double read_fraction) {
  AnsweredCell answer{.cell = {entry, "S1", 512, index}, .columns = {}, .depths = {}, .outcome = {}};
  answer.outcome.cost = {.bytes_per_token = bytes / 512, .bits_per_value = 16, .bytes_held = bytes, .kept = 0.5};
  answer.outcome.read_fraction = read_fraction;
  answer.outcome.box_bytes = entry == 1 ? 10 : 0;
  answer.outcome.decode = {.seconds = 0.5, .tokens = 10 * (entry + 1)};
  for (const auto& [mode, right] :
       {std::pair(Mode::kMultiTurn, multi_turn), std::pair(Mode::kMultiRequest, multi_request)}) {
    for (std::uint32_t turn = 0; turn < right.size(); ++turn) {
      answer.outcome.turns.push_back({.mode = mode, .turn = turn, .correct = right[turn], .answer = "x"});
    }
  }
  answer.columns.assign(multi_turn.size(), "");
  answer.depths.assign(multi_turn.size(), kUnknownDepth);
  return answer;
}

struct Boards : ::testing::Test {
  BoardPlan plan =
      plan_board({.policies = {"keydiff", "oracle"}, .budgets = {0.5}, .codecs = {"raw_f16"}, .controls = false},
                 "raw_f16")
          .value();
  std::vector<AnsweredCell> answers = {board_answer(0, 0, {true, true}, {true, true}, 1000, 1),
                                       board_answer(0, 1, {true, false}, {true, false}, 1000, 1),
                                       board_answer(1, 0, {true, false}, {true, true}, 500, 1),
                                       board_answer(1, 1, {false, true}, {false, true}, 600, 0.5),
                                       board_answer(2, 0, {true, true}, {true, true}, 400, 1),
                                       board_answer(2, 1, {true, true}, {true, true}, 400, 1)};
  std::vector<BoardRow> rows = board_rows(plan.entries, answers);
  Json head = {{"format", "f"},
               {"model", {{"name", "</script>tiny"}}},
               {"settings", {{"seed", 1}, {"sessions", 2}, {"turns", 2}, {"form", "plain"}, {"left_out", {"a line"}}}}};
};

TEST_F(Boards, RowsAreTheCountsOfTheirOutcomes) {
  ASSERT_EQ(rows.size(), 3u);
  const BoardRow& row = rows[1];
  EXPECT_EQ(row.entry->recipe.text, "raw_f16+policy=keydiff/keep=0.5");
  EXPECT_EQ(row.cost.bytes_held, 550 + 10);
  EXPECT_DOUBLE_EQ(row.cost.bytes_per_token, 560.0 / 512);
  EXPECT_EQ(row.cost.kept, 0.5);
  EXPECT_EQ(row.read_fraction, 0.75);
  EXPECT_EQ(row.bytes_read, (500 + 600 * 0.5) / 2 + 10);
  EXPECT_EQ(row.tokens_per_second().value(), 40);
  const GroupCounts turns = row.total(Mode::kMultiTurn);
  EXPECT_EQ(turns.items, 4u);
  EXPECT_EQ(turns.correct, 2u);
  EXPECT_EQ(turns.exact_correct, 3u);
  EXPECT_EQ(turns.retained, 1u);
  EXPECT_EQ(turns.lost, 2u);
  EXPECT_EQ(turns.won, 1u);
  EXPECT_EQ(row.total_of(Mode::kMultiRequest, 0).retained, 1u);
  EXPECT_EQ(row.headline().items, 2u);  // the second turn, multi-request
  EXPECT_EQ(row.headline().exact_correct, 1u);
  EXPECT_EQ(row.headline().retained, 1u);
  EXPECT_EQ(row.headline().won, 1u);
  EXPECT_FALSE(rows[2].is_candidate());
}

TEST_F(Boards, OneTurnIsItsOwnHeadline) {
  const std::vector<AnsweredCell> single = {board_answer(0, 0, {true}, {true}, 1, 1)};
  EXPECT_EQ(board_rows(std::span(plan.entries).first(1), single)[0].headline().items, 1u);
}

TEST_F(Boards, JsonHoldsALineForEachRow) {
  const std::string text = board_json(head, rows);
  const Json board = parse_json(text).value();
  ASSERT_EQ(board["rows"].size(), 3u);
  const Json& row = board["rows"][1];
  EXPECT_EQ(row["policy"], "keydiff");
  EXPECT_EQ(row["family"], "retention");
  EXPECT_EQ(row["budget"], 0.5);
  EXPECT_TRUE(board["rows"][0]["policy"].is_null());
  ASSERT_EQ(row["scores"].size(), 6u);  // modes, each with all turns and two of them
  EXPECT_EQ(row["scores"][0]["retained"]["kept"], 1);
  EXPECT_EQ(row["scores"][5]["turn"], 2);
  EXPECT_EQ(row["scores"][5]["right"], 2);
  ASSERT_EQ(row["cells"].size(), 4u);
  EXPECT_EQ(row["cells"][0].size(), board["cell_fields"].size());
  // The oracle is a bound: it is smaller and no worse, and on no front.
  EXPECT_EQ(board["fronts"]["bytes_held"], Json({"raw_f16+policy=keydiff/keep=0.5"}));
  EXPECT_EQ(board["busy"]["front"], Json({"raw_f16+policy=keydiff/keep=0.5"}));
  EXPECT_EQ(std::ranges::count(text.substr(text.find("\"rows\"")), '\n'), 6);
}

TEST_F(Boards, TablesHoldTheRowsAndPagesKeepTextsText) {
  const std::string text = board_markdown(head, rows);
  EXPECT_THAT(text, HasSubstr("| `raw_f16+policy=keydiff/keep=0.5` | 0.5 | 1 | 0.560 | 0.500 | 0.750 | 410 | 40.0 | "
                              "1/3, 33.3 % [6, 79] | 2/3, 66.7 % [21, 94] | 1/1, 100.0 % [21, 100] | 3, 2 | HRS |"));
  EXPECT_THAT(text, HasSubstr("- a line\n"));
  const std::string page = board_page(head, rows);
  EXPECT_EQ(page, board_page(head, rows));
  EXPECT_THAT(page, ::testing::Not(HasSubstr("</script>tiny")));
  EXPECT_THAT(page, ::testing::Not(HasSubstr("@RESULTS@")));
}

bool beats(const FrontPoint& a, const FrontPoint& b) {
  return a.cost <= b.cost && a.gain >= b.gain && (a.cost < b.cost || a.gain > b.gain);
}

TEST(ParetoFront, IsThatOfBruteForce) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    SeededRandom random(seed, "front", 0, 0);
    std::vector<FrontPoint> points(random.below(12));
    for (FrontPoint& point : points) {
      point = {static_cast<double>(random.below(5)), static_cast<double>(random.below(5))};
    }
    std::vector<std::size_t> front = pareto_front(points);
    EXPECT_TRUE(std::ranges::is_sorted(front, {}, [&](std::size_t i) { return points[i].cost; }));
    std::vector<std::size_t> expected;
    for (std::size_t i = 0; i < points.size(); ++i) {
      if (std::ranges::none_of(points, [&](const FrontPoint& other) { return beats(other, points[i]); })) {
        expected.push_back(i);
      }
    }
    std::ranges::sort(front);
    EXPECT_EQ(front, expected) << seed;
  }
}

}  // namespace
}  // namespace cairn::eval
