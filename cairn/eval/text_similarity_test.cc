// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/text_similarity.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <string>
#include <vector>

namespace cairn {
namespace {

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
