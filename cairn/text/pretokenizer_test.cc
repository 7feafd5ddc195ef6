// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "cairn/testing/any_text.h"
#include "cairn/testing/tokenizer_data.h"
#include "cairn/text/tokenizer_families.h"

namespace cairn::text {
namespace {

using Words = std::vector<std::string_view>;

Words split(std::string_view name, std::string_view text) {
  return PreTokenizer::make(name)->split(text);
}

TEST(PreTokenizer, CutsAsItsModelWasTrained) {
  const char* text = "I'LL don't 12345 x  y\n\n z!?\n";
  EXPECT_EQ(split("llama-bpe", text),
            (Words{"I", "'LL", " don", "'t", " ", "123", "45", " x", " ", " y", "\n\n", " z", "!?\n"}));
  EXPECT_EQ(split("qwen2", text),
            (Words{"I", "'LL", " don", "'t", " ", "1", "2", "3", "4", "5", " x", " ", " y", "\n\n", " z", "!?\n"}));
  EXPECT_EQ(split("gpt-2", text),
            (Words{"I", "'", "LL", " don", "'t", " 12345", " x", " ", " y", "\n\n", " z", "!?", "\n"}));
  EXPECT_EQ(split("smollm", text), (Words{"I", "'", "LL", " don", "'t", " ", "1", "2", "3", "4", "5", " x", " ", " y",
                                          "\n\n", " z", "!?", "\n"}));
}

TEST(PreTokenizer, WhiteSpaceIsTheUnicodeProperty) {
  EXPECT_EQ(split("gpt-2", "a\u3000\u2003b"), (Words{"a", "\u3000", "\u2003", "b"}));
  EXPECT_EQ(split("gpt-2", "a \u180E"), (Words{"a", " \u180E"}));  // Mongolian vowel separator is none
  EXPECT_EQ(split("llama-bpe", "\u0085\r\n x"), (Words{"\u0085\r\n", " x"}));
}

TEST(PreTokenizer, BytesThatAreNotUtf8StandAlone) {
  EXPECT_EQ(split("llama-bpe", "ab\xFF\xFE c\xC3"), (Words{"ab", "\xFF", "\xFE", " c", "\xC3"}));
  EXPECT_EQ(split("llama-bpe", ""), Words{});
}

TEST(PreTokenizer, PiecesCoverTheText) {
  for (const char* name : {"llama-bpe", "qwen2", "gpt-2", "smollm"}) {
    const auto pre = PreTokenizer::make(name);
    ASSERT_TRUE(pre);
    EXPECT_TRUE(rc::check([&] {
      const std::string text = *testing::any_text();
      std::string joined;
      for (const std::string_view piece : pre->split(text)) {
        RC_ASSERT(!piece.empty());
        joined += piece;
      }
      RC_ASSERT(joined == text);
    }));
    std::string everything;
    for (char32_t point = 1; point < 0x110000; ++point) everything += utf8_encode(point);
    std::size_t bytes = 0;
    for (const std::string_view piece : pre->split(everything)) bytes += piece.size();
    EXPECT_EQ(bytes, everything.size());
  }
}

TEST(PreTokenizer, AliasesShareAName) {
  EXPECT_EQ(PreTokenizer::make("llama3")->name(), "llama-bpe");
  EXPECT_EQ(PreTokenizer::make("llama-v3")->name(), "llama-bpe");
  EXPECT_EQ(PreTokenizer::make("deepseek-r1-qwen")->name(), "qwen2");
}

TEST(PreTokenizer, UnknownNamesAreRefusedWithTheList) {
  const auto unknown = PreTokenizer::make("tekken");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(
      unknown.error().message,
      "tokenizer.ggml.pre is \"tekken\": supported are llama-bpe, llama3, llama-v3, qwen2, deepseek-r1-qwen, gpt-2, "
      "smollm");
  EXPECT_EQ(PreTokenizer::make("").error().code, ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace cairn::text
