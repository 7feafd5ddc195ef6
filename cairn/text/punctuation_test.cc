// SPDX-License-Identifier: Apache-2.0
#include "cairn/text/punctuation.h"

#include <gtest/gtest.h>

namespace cairn {
namespace {

TEST(PunctuationText, IsMarksAndWhiteSpaceAlone) {
  for (const char* text :
       {".", ",", " (", "\n\n", "\t", "...", "\"", " -", "\u2014", "\u201C", "\u3002", "\uFF0C", "\u00BB"}) {
    EXPECT_TRUE(is_punctuation_text(text)) << text;
  }
  for (const char* text : {"", "a", " a", "a.", "0", " 7,", "\u00E9", "\u4E2D", "\U0001F600", "\u00B2"}) {
    EXPECT_FALSE(is_punctuation_text(text)) << text;
  }
}

TEST(PunctuationText, PartsOfCharactersAreNone) {
  EXPECT_FALSE(is_punctuation_text("\xE2\x80"));
  EXPECT_FALSE(is_punctuation_text(".\xFF"));
}

}  // namespace
}  // namespace cairn
