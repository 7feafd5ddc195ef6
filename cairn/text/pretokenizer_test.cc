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
  EXPECT_EQ(split("deepseek-llm", text),
            (Words{"I", "'", "LL", " don", "'", "t", " ", "12345", " x", " ", " y", "\n", "\n", " z", "!?", "\n"}));
  EXPECT_EQ(split("deepseek-v3", text),
            (Words{"I", "'LL", " don", "'t", " ", "123", "45", " x", " ", " y", "\n\n", " z", "!?\n"}));
}

// Small and large letters are one run, but a run of signs takes the letters of ASCII out of it, as in the original.
TEST(PreTokenizer, DeepSeekCutsInStages) {
  const char* text = "café ÉCOLE 你好，カナ7  。\tx ";
  EXPECT_EQ(split("deepseek-llm", text),
            (Words{"caf", "é", " É", "COLE", " ", "你好", "，", "カナ", "7", " ", " ", "。", "\tx", " "}));
  EXPECT_EQ(split("deepseek-v3", text),
            (Words{"café", " ÉCOLE", " ", "你好", "，", "カナ", "7", " ", " 。", "\tx", " "}));
}

TEST(PreTokenizer, WordsOfGpt4oAndMistralEndWhereACapitalBegins) {
  const char* text = "camelCase HTTPServer I'LL don't ÉCOLE/\n1234 नमस्ते 你好X ";
  EXPECT_EQ(split("gpt-4o", text), (Words{"camel", "Case", " HTTPServer", " I'LL", " don't", " ÉCOLE", "/\n", "123",
                                          "4", " नमस्ते", " 你好", "X", " "}));
  EXPECT_EQ(split("tekken", text), (Words{"camel", "Case", " HTTPServer", " I", "'LL", " don", "'t", " ÉCOLE", "/\n",
                                          "1", "2", "3", "4", " नमस्ते", " 你好", "X", " "}));
  EXPECT_EQ(split("gpt-4o", "\u0301 \u0301a"), (Words{"\u0301", " \u0301a"}));  // marks count as letters
}

TEST(PreTokenizer, LongRunsCostOnePass) {
  for (const char* name : {"gpt-4o", "tekken"}) {
    std::string capitals(2 << 20, 'A'), marks;
    while (marks.size() < capitals.size()) marks += "你";
    EXPECT_EQ(split(name, capitals), Words{capitals});
    EXPECT_EQ(split(name, marks), Words{marks});
  }
  const std::string spaces(2 << 20, ' ');
  EXPECT_EQ(split("deepseek-llm", spaces + "你"), (Words{spaces, "你"}));
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
  for (const char* name :
       {"llama-bpe", "qwen2", "gpt-2", "smollm", "gpt-4o", "tekken", "deepseek-llm", "deepseek-v3"}) {
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
  const auto unknown = PreTokenizer::make("poro-chat");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(unknown.error().message,
            "tokenizer.ggml.pre is \"poro-chat\": supported are llama-bpe, llama3, llama-v3, qwen2, deepseek-r1-qwen, "
            "gpt-2, olmo, phi-2, mpt, smollm, refact, starcoder, command-r, dbrx, smaug-bpe, gpt-4o, llama4, tekken, "
            "deepseek-llm, deepseek-v3");
  EXPECT_EQ(PreTokenizer::make("").error().code, ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace cairn::text
