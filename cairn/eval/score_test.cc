// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/score.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <string>
#include <utility>
#include <vector>

#include "cairn/eval/text_similarity.h"

namespace cairn {
namespace {

constexpr Metric kMetrics[] = {Metric::kExact,       Metric::kContains,    Metric::kRecall,
                               Metric::kCharF1,      Metric::kRougeL,      Metric::kFactF1,
                               Metric::kNearestBody, Metric::kFirstNumber, Metric::kChoice};

Turn turn_of(Metric metric, std::vector<std::string> gold, std::vector<std::string> candidates = {}) {
  Turn turn;
  turn.metric = metric;
  turn.gold = std::move(gold);
  turn.candidates = std::move(candidates);
  return turn;
}

TEST(Score, ExactComparesTheFirstLine) {
  const Turn turn = turn_of(Metric::kExact, {"5931", "river lamp."});
  EXPECT_EQ(score_answer(turn, " 5931\n"), 1);
  EXPECT_EQ(score_answer(turn, "5931 \nQuestion:"), 1);
  EXPECT_EQ(score_answer(turn, " river lamp."), 1);
  EXPECT_EQ(score_answer(turn, " 59310"), 0);
  EXPECT_EQ(score_answer(turn, " 593"), 0);
  EXPECT_EQ(score_answer(turn, "\n5931"), 0);
  EXPECT_EQ(score_answer(turn, ""), 0);
}

TEST(Score, ContainsIgnoresCase) {
  const Turn turn = turn_of(Metric::kContains, {"Paris", "Lutetia"});
  EXPECT_EQ(score_answer(turn, " in PARIS, I think"), 1);
  EXPECT_EQ(score_answer(turn, "lutetia"), 1);
  EXPECT_EQ(score_answer(turn, "Par is"), 0);
}

TEST(Score, RecallIsTheShareOfTheGold) {
  const Turn turn = turn_of(Metric::kRecall, {"X1", "X2", "X3", "X4"});
  EXPECT_DOUBLE_EQ(score_answer(turn, " X1 X4 X9"), 0.5);
  EXPECT_TRUE(is_correct(turn.metric, score_answer(turn, "X4 X3 X2 X1")));
  EXPECT_FALSE(is_correct(turn.metric, score_answer(turn, "X4 X3 X2")));
}

TEST(Score, OverlapsMustExceedOneHalf) {
  const Turn turn = turn_of(Metric::kCharF1, {"老师"});
  EXPECT_DOUBLE_EQ(score_answer(turn, "律师\n"), 0.5);
  EXPECT_FALSE(is_correct(turn.metric, score_answer(turn, "律师\n")));
  EXPECT_TRUE(is_correct(turn.metric, score_answer(turn, "是老师")));
}

TEST(Score, FactsAreSentencesInAnyOrder) {
  const Turn turn = turn_of(Metric::kFactF1, {"A lives in B.", "C is 4 years old."});
  EXPECT_EQ(score_answer(turn, " C is 4 years old. A lives in B.\n"), 1);
  EXPECT_DOUBLE_EQ(score_answer(turn, "A lives in B."), 2.0 / 3);
  EXPECT_EQ(score_answer(turn, "A lives in C."), 0);
}

TEST(Score, NearestBodyMustBeNearAndNearest) {
  const std::string needle = "def a: one two three", other = "def b: one two three";
  const Turn turn = turn_of(Metric::kNearestBody, {needle}, {other, needle});
  EXPECT_EQ(score_answer(turn, " " + needle + "\n"), 1);
  EXPECT_EQ(score_answer(turn, " " + needle + " four"), 1);
  EXPECT_EQ(score_answer(turn, other), 0);                    // near enough, but another is nearer
  EXPECT_EQ(score_answer(turn, "def c: one two three"), 0);   // as near to both
  EXPECT_EQ(score_answer(turn, "def a: one four seven"), 0);  // nearest, but not near
}

TEST(Score, FirstNumber) {
  const Turn turn = turn_of(Metric::kFirstNumber, {"42"});
  for (const char* right : {" 42\n", "it is 42.", "042", "42 or 43"}) EXPECT_EQ(score_answer(turn, right), 1) << right;
  for (const char* wrong : {"", "none", "420", "-42", "42.5", "4 2", "43 42"}) {
    EXPECT_EQ(score_answer(turn, wrong), 0) << wrong;
  }
  EXPECT_EQ(score_answer(turn_of(Metric::kFirstNumber, {"0.5"}), "00.5"), 1);
  EXPECT_EQ(score_answer(turn_of(Metric::kFirstNumber, {"0"}), "-000"), 1);
  EXPECT_EQ(score_answer(turn_of(Metric::kFirstNumber, {"none"}), "none"), 0);
}

TEST(Score, Choice) {
  const Turn turn = turn_of(Metric::kChoice, {" B"}, {" A", " B", " C"});
  EXPECT_EQ(score_choice(turn, 1), 1);
  EXPECT_EQ(score_choice(turn, 2), 0);
  EXPECT_EQ(score_answer(turn, " B\n"), 1);
  EXPECT_EQ(score_answer(turn, " A\n"), 0);
}

TEST(Score, AWordThatHasToComeFirst) {
  for (const Metric metric : kMetrics) {
    Turn turn = turn_of(metric, {"42"}, {"42", "43"});
    turn.begins_with = "lamp";
    EXPECT_EQ(score_answer(turn, " lamp 42\n"), 1);
    EXPECT_EQ(score_answer(turn, " 42\n"), 0);
    EXPECT_EQ(score_answer(turn, " lamps 42\n"), 0);
    EXPECT_EQ(score_answer(turn, " 42 lamp\n"), 0);
    EXPECT_EQ(score_answer(turn, " lamp\n"), 0);
  }
}

TEST(Score, AnyBytesScoreBetweenZeroAndOne) {
  EXPECT_TRUE(rc::check([](const std::string& generated, const std::string& gold) {
    for (const Metric metric : kMetrics) {
      const double score = score_answer(turn_of(metric, {gold}, {gold, "x"}), generated);
      RC_ASSERT(score >= 0 && score <= 1);
    }
  }));
}

// The time of a score is bounded because the bytes that it reads are.
TEST(Score, WhatLiesBehindTheBoundIsNotRead) {
  const std::string blanks(kMaxComparedBytes, ' ');
  for (const Metric metric : kMetrics) {
    const Turn turn = turn_of(metric, {"42"}, {"42", "43"});
    EXPECT_EQ(score_answer(turn, blanks.substr(2) + "42"), 1) << int(metric);
    EXPECT_EQ(score_answer(turn, blanks + "42"), 0) << int(metric);
  }
}

}  // namespace
}  // namespace cairn
