// SPDX-License-Identifier: Apache-2.0
#include "cairn/load/made_text.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace cairn::load {
namespace {

TEST(MadeText, SeedsDecide) {
  EXPECT_EQ(made_words({1, "a"}, 50), made_words({1, "a"}, 50));
  EXPECT_NE(made_words({1, "a"}, 50), made_words({1, "b"}, 50));
  EXPECT_EQ(count_words(made_words({1, "a"}, 50)), 50u);
  EXPECT_TRUE(made_words({1, "a"}, 50).starts_with(made_words({1, "a"}, 20)));
}

TEST(MadeText, FirstWordsAreAPrefixOfThatMany) {
  EXPECT_TRUE(rc::check([] {
    const auto text = *rc::gen::container<std::string>(rc::gen::elementOf(std::string("ab \n\t")));
    const std::size_t words = *rc::gen::inRange<std::size_t>(0, 12);
    const std::string first = first_words(text, words);
    RC_ASSERT(text.starts_with(first));
    RC_ASSERT(count_words(first) == std::min(words, count_words(text)));
  }));
}

// A tokenizer of three letters a token.
Result<std::size_t> threes(const std::string& text) {
  return text.size() / 3;
}

TEST(MadeText, IsSizedByTheTokenizerWhateverTheGuess) {
  EXPECT_TRUE(rc::check([] {
    const std::size_t tokens = *rc::gen::inRange<std::size_t>(200, 20000);
    const double guess = *rc::gen::inRange(1, 100) / 10.0;
    const TextOfWords text = [](std::size_t words) { return made_words({1, "x"}, words); };
    const SizedText sized = *sized_text(text, 1 << 20, tokens, guess, threes);
    RC_ASSERT(sized.tokens == *threes(sized.text));
    RC_ASSERT(sized.tokens + tokens / 100 + 4 >= tokens && sized.tokens <= tokens + tokens / 100 + 4);
  }));
}

TEST(MadeText, WithoutATokenizerTheGuessCounts) {
  const TextOfWords text = [](std::size_t words) { return made_words({1, "x"}, words); };
  EXPECT_EQ(sized_text(text, 1000, 100, 2, {})->words, 50u);
}

TEST(MadeText, ShortSourcesAreTakenWhole) {
  const TextOfWords text = [](std::size_t words) { return first_words("one two three", words); };
  const SizedText sized = *sized_text(text, 3, 1000, 1, threes);
  EXPECT_EQ(sized.text, "one two three");
  EXPECT_EQ(sized.tokens, 4u);
}

TEST(MadeText, ErrorsOfTheTokenizerArePassedOn) {
  const TextOfWords text = [](std::size_t words) { return made_words({1, "x"}, words); };
  const TokenCounter broken = [](const std::string&) -> Result<std::size_t> { return fail(ErrorCode::kIo, "gone"); };
  EXPECT_EQ(sized_text(text, 1000, 100, 1, broken).error().message, "gone");
}

}  // namespace
}  // namespace cairn::load
