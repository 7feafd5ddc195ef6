// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/session.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace cairn {
namespace {

constexpr Metric kMetrics[] = {Metric::kExact,       Metric::kContains, Metric::kWholeWord, Metric::kRecall,
                               Metric::kCharF1,      Metric::kRougeL,   Metric::kFactF1,    Metric::kNearestBody,
                               Metric::kFirstNumber, Metric::kChoice};

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

TEST(Score, AWholeWordMayStandInASentence) {
  const Turn turn = turn_of(Metric::kWholeWord, {"5931", " Paris\n", "old lamp."});
  EXPECT_EQ(score_answer(turn, "The code of river is 5931."), 1);
  EXPECT_EQ(score_answer(turn, "PARIS"), 1);
  EXPECT_EQ(score_answer(turn, "(paris)"), 1);
  EXPECT_EQ(score_answer(turn, "It is the old lamp. Really"), 1);
  EXPECT_EQ(score_answer(turn, "59310 or 15931"), 0);
  EXPECT_EQ(score_answer(turn, "59310 or 5931"), 1);
  EXPECT_EQ(score_answer(turn, "Parisian"), 0);
  EXPECT_EQ(score_answer(turn, "\xc3\xa9Paris"), 0);
  EXPECT_EQ(score_answer(turn, "cold lamp."), 0);
  EXPECT_EQ(score_answer(turn, ""), 0);
  EXPECT_EQ(score_answer(turn_of(Metric::kWholeWord, {" "}), "anything"), 0);
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

TEST(TextSimilarity, CharF1CountsCodePointsWithTheirNumber) {
  EXPECT_DOUBLE_EQ(char_f1("巴黎", "巴黎"), 1);
  EXPECT_DOUBLE_EQ(char_f1("巴黎", "黎巴"), 1);  // a bag has no order
  EXPECT_DOUBLE_EQ(char_f1("巴巴黎", "巴黎"), 2 * 2.0 / 5);
  EXPECT_DOUBLE_EQ(char_f1("罗马", "巴黎"), 0);  // though their first bytes are alike
  EXPECT_DOUBLE_EQ(char_f1("", "巴黎"), 0);
  EXPECT_DOUBLE_EQ(char_f1(" \n", ""), 1);
}

TEST(TextSimilarity, SentencesCountWholeAndWithoutTheirOrder) {
  EXPECT_DOUBLE_EQ(sentence_f1(" B is 2. A is 1.", "A is 1. B is 2."), 1);
  EXPECT_DOUBLE_EQ(sentence_f1("A is 1", "A is 1. B is 2."), 2.0 / 3);
  EXPECT_DOUBLE_EQ(sentence_f1("A is 3. B is 4.", "A is 1. B is 2."), 0);
}

TEST(TextSimilarity, RougeLIsTheLongestCommonSubsequence) {
  EXPECT_DOUBLE_EQ(rouge_l("a b c d", "a x c d"), 0.75);
  EXPECT_DOUBLE_EQ(rouge_l("d c b a", "a b c d"), 0.25);
  EXPECT_DOUBLE_EQ(rouge_l("", "a"), 0);
  EXPECT_DOUBLE_EQ(rouge_l("", ""), 1);
}

TEST(TextSimilarity, WordSimilarityCountsEdits) {
  EXPECT_DOUBLE_EQ(word_similarity("a b c d", "a b c d"), 1);
  EXPECT_DOUBLE_EQ(word_similarity("a b c d", "a x c d"), 0.75);
  EXPECT_DOUBLE_EQ(word_similarity("b c d", "a b c d"), 0.75);
  EXPECT_DOUBLE_EQ(word_similarity("x y", "a b c d"), 0);
  EXPECT_DOUBLE_EQ(word_similarity("", ""), 1);
}

// Straight from the definitions, exponential in the words.
std::size_t slow_edits(const std::vector<int>& a, const std::vector<int>& b, std::size_t i, std::size_t j) {
  if (i == a.size() || j == b.size()) return a.size() - i + b.size() - j;
  if (a[i] == b[j]) return slow_edits(a, b, i + 1, j + 1);
  return 1 + std::min({slow_edits(a, b, i + 1, j), slow_edits(a, b, i, j + 1), slow_edits(a, b, i + 1, j + 1)});
}
std::size_t slow_common(const std::vector<int>& a, const std::vector<int>& b, std::size_t i, std::size_t j) {
  if (i == a.size() || j == b.size()) return 0;
  if (a[i] == b[j]) return 1 + slow_common(a, b, i + 1, j + 1);
  return std::max(slow_common(a, b, i + 1, j), slow_common(a, b, i, j + 1));
}
std::string spelled(const std::vector<int>& numbers) {
  std::string text;
  for (const int n : numbers) text += std::to_string(n) + " ";
  return text;
}

TEST(TextSimilarity, AgreesWithTheDefinitions) {
  EXPECT_TRUE(rc::check([] {
    const auto words = rc::gen::resize(6, rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 4)));
    const std::vector<int> a = *words, b = *words;
    const double longer = static_cast<double>(std::max(a.size(), b.size()));
    const double edits = static_cast<double>(slow_edits(a, b, 0, 0));
    const double common = static_cast<double>(slow_common(a, b, 0, 0));
    const double both = static_cast<double>(a.size() + b.size());
    RC_ASSERT(word_similarity(spelled(a), spelled(b)) == (longer == 0 ? 1 : 1 - edits / longer));
    RC_ASSERT(rouge_l(spelled(a), spelled(b)) == (both == 0 ? 1 : 2 * common / both));
  }));
}

TEST(TextSimilarity, TakesAnyBytes) {
  EXPECT_TRUE(rc::check([](const std::string& a, const std::string& b) {
    for (const auto similarity : {char_f1, sentence_f1, rouge_l, word_similarity}) {
      const double forth = similarity(a, b), back = similarity(b, a);
      RC_ASSERT(forth >= 0 && forth <= 1);
      RC_ASSERT(forth == back);
      RC_ASSERT(similarity(a, a) == 1);
    }
  }));
}

TEST(TextSimilarity, LooksAtTheBeginningOfLongTextsOnly) {
  std::string words, blanks(10'000'000, ' ');
  while (words.size() < 10'000'000) words += "a ";
  EXPECT_EQ(split_words(words).size(), kMaxComparedWords);
  EXPECT_TRUE(split_words(blanks + "a").empty());
  for (const auto similarity : {char_f1, sentence_f1, rouge_l, word_similarity}) {
    EXPECT_EQ(similarity(words, words), 1);  // within the test's time limit
  }
}

}  // namespace
}  // namespace cairn
