// SPDX-License-Identifier: Apache-2.0
#include "cairn/load/figures.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <string_view>

namespace cairn::load {
namespace {

Record record(double due_s, std::vector<double> piece_s, std::size_t tokens) {
  Record made;
  made.due_s = made.sent_s = due_s;
  made.done_s = piece_s.back();
  made.finished_s = piece_s.back();
  made.piece_s = std::move(piece_s);
  made.usage = {.prompt = 100, .completion = tokens, .cached = 25};
  return made;
}

TEST(RoundSummary, FiguresOfTwoRequests) {
  const std::vector<Record> records = {record(0, {1, 1.5, 2}, 3), record(1, {4, 5}, 5)};
  const RoundSummary summary = summarize_round(records, {});
  EXPECT_EQ(summary.seconds, 5);
  EXPECT_EQ(summary.first_token_s.p50, 2);
  EXPECT_EQ(summary.first_token_s.max, 3);
  EXPECT_EQ(summary.gap_s.p50, 0.5);
  EXPECT_EQ(summary.gap_s.max, 1);
  EXPECT_EQ(summary.token_s.max, 0.5);
  EXPECT_EQ(summary.latency_s.max, 4);
  EXPECT_EQ(summary.output_tokens, 8u);
  EXPECT_EQ(summary.output_per_s, 8 / 5.0);
  EXPECT_EQ(summary.prompt_per_s, 40);
  EXPECT_EQ(summary.hit_rate, 0.25);
  EXPECT_EQ(summary.goodput, std::nullopt);
}

TEST(RoundSummary, WaitingForAConnectionCounts) {
  Record late = record(1, {4, 5}, 2);
  late.sent_s = 3;
  const RoundSummary summary = summarize_round(std::vector{late}, {});
  EXPECT_EQ(summary.first_token_s.p50, 3);
  EXPECT_EQ(summary.late, 1u);
  EXPECT_EQ(summary.max_late_s, 2);
}

TEST(RoundSummary, FailuresAreCountedAndAreNotGood) {
  Record failed = record(0, {1}, 1);
  failed.error = "status 500";
  failed.detail = "broken";
  const std::vector<Record> records = {record(0, {1, 1.1}, 2), failed, failed, record(0, {3, 3.1}, 2)};
  const RoundSummary summary = summarize_round(records, {.first_token_s = 2, .token_s = 0.2});
  EXPECT_EQ(summary.goodput, 0.25);
  EXPECT_EQ(summary.errors.at("status 500"), 2u);
  EXPECT_EQ(summary.first_error, "status 500: broken");
  EXPECT_EQ(summary.succeeded, 2u);
  EXPECT_EQ(summary.prompt_tokens, 200u);
}

TEST(RoundSummary, WhatTheServerDoesNotTellIsAbsent) {
  Record silent = record(0, {1, 2}, 2);
  silent.usage = {};
  const RoundSummary summary = summarize_round(std::vector{silent}, {});
  EXPECT_EQ(summary.uncounted, 1u);
  EXPECT_EQ(summary.hit_rate, std::nullopt);
  EXPECT_EQ(summary.output_per_s, std::nullopt);
  EXPECT_EQ(summary.gap_s.p50, 1);
}

TEST(RoundSummary, CountsOfRoundsAreAdded) {
  Record failed = record(0, {1}, 1), late = record(0, {2, 3}, 2);
  failed.error = "timeout";
  late.sent_s = 1.5;
  late.usage = {};
  const std::vector<RoundSummary> rounds = {summarize_round(std::vector{record(0, {1, 2}, 4), late}, {}),
                                            summarize_round(std::vector{failed, failed}, {}),
                                            summarize_round(std::vector{failed, record(0, {1}, 1)}, {})};
  const RoundSummary sum = sum_rounds(rounds);
  EXPECT_EQ(sum.requests, 6u);
  EXPECT_EQ(sum.succeeded, 3u);
  EXPECT_EQ(sum.errors.at("timeout"), 3u);
  EXPECT_EQ(sum.first_error, "timeout");
  EXPECT_EQ(sum.output_tokens, 5u);
  EXPECT_EQ(sum.pieces, 5u);
  EXPECT_EQ(sum.late, 1u);
  EXPECT_EQ(sum.max_late_s, 1.5);
  EXPECT_EQ(sum.uncounted, 1u);
  EXPECT_EQ(sum_rounds({}).requests, 0u);
}

TEST(RoundSummary, NothingGivesNothing) {
  const RoundSummary summary = summarize_round({}, {.first_token_s = 1, .token_s = {}});
  EXPECT_EQ(summary.goodput, std::nullopt);
  for (const Figure& figure : all_figures()) EXPECT_EQ(figure.of(summary), std::nullopt) << figure.key;
}

TEST(RoundSummary, GapsAreSortedByTheLongPrompt) {
  Record stream = record(0, {1, 2, 3, 6, 9, 10}, 6);
  Record brief = record(0, {1, 2}, 2);
  Record prompt = record(4, {8}, 1);
  prompt.long_prompt = true;
  const RoundSummary summary = summarize_round(std::vector{stream, brief, prompt}, {});
  EXPECT_EQ(summary.long_first_token_s, 4);
  EXPECT_EQ(summary.gap_before_s.max, 1);
  EXPECT_EQ(summary.gap_during_s.p50, 3);
  EXPECT_EQ(summary.gap_during_s.max, 3);
  EXPECT_EQ(summary.streams_ended_early, 1u);
  EXPECT_EQ(summary.first_token_s.max, 1);
}

TEST(RoundSummary, GoodputIsTheShareWithinTheTarget) {
  EXPECT_TRUE(rc::check([] {
    const auto firsts = *rc::gen::container<std::vector<int>>(rc::gen::inRange(1, 100));
    const int target = *rc::gen::inRange(1, 100);
    RC_PRE(!firsts.empty());
    std::vector<Record> records;
    for (const int first : firsts) records.push_back(record(0, {static_cast<double>(first)}, 1));
    const RoundSummary summary = summarize_round(records, {.first_token_s = target, .token_s = {}});
    const auto good = std::ranges::count_if(firsts, [&](int first) { return first <= target; });
    RC_ASSERT(summary.goodput == static_cast<double>(good) / static_cast<double>(firsts.size()));
    RC_ASSERT(*summary.first_token_s.p50 <= *summary.first_token_s.p95);
    RC_ASSERT(*summary.first_token_s.p95 <= *summary.first_token_s.p99);
    RC_ASSERT(*summary.first_token_s.max == *std::ranges::max_element(firsts));
  }));
}

TEST(LoadFigures, MediansSkipRoundsWithoutTheFigure) {
  RoundSummary one, two, none;
  one.hit_rate = 0.2;
  two.hit_rate = 0.4;
  const auto figure =
      std::ranges::find_if(all_figures(), [](const Figure& f) { return std::string_view(f.key) == "hit_rate"; });
  const std::vector<RoundSummary> rounds = {one, none, two};
  EXPECT_NEAR(*median_figure(*figure, rounds), 30, 1e-9);
  EXPECT_EQ(median_figure(*figure, std::vector{none}), std::nullopt);
}

TEST(LoadFigures, RatiosTellHowFarRoundsAreApart) {
  const auto rounds = [](std::vector<double> values) {
    std::vector<RoundSummary> made(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) made[i].output_per_s = values[i];
    return made;
  };
  const auto figure = std::ranges::find_if(
      all_figures(), [](const Figure& f) { return std::string_view(f.key) == "output_tokens_per_s"; });
  const auto ratio = ratio_of_figures(*figure, rounds({10, 20, 60}), rounds({10, 10, 20}));
  ASSERT_TRUE(ratio);
  EXPECT_EQ(ratio->of_medians, 2);
  EXPECT_EQ(ratio->low, 1);
  EXPECT_EQ(ratio->high, 3);
  EXPECT_FALSE(ratio_of_figures(*figure, rounds({10}), rounds({0})));
  EXPECT_FALSE(ratio_of_figures(*figure, rounds({10}), std::vector<RoundSummary>(1)));
}

}  // namespace
}  // namespace cairn::load
