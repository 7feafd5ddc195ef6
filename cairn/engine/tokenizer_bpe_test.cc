// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>

#include "cairn/engine/tokenizer_test_data-inl.h"

namespace cairn {
namespace {

using testing::bpe_data;
using testing::must_make;

// The ids of tokens as the vocabulary writes them (Ġ is a space, Ċ a line break).
std::vector<TokenId> ids_of(const TokenizerData& data, const std::vector<std::string>& texts) {
  std::vector<TokenId> ids;
  for (const std::string& text : texts) {
    ids.push_back(static_cast<TokenId>(std::ranges::find(data.tokens, text) - data.tokens.begin()));
  }
  return ids;
}

struct Golden {
  const char* text;
  bool parse_special;
  std::vector<std::string> tokens;
};

TEST(BpeTokenizer, Golden) {
  const TokenizerData data = bpe_data("llama-bpe");
  const auto tokenizer = must_make(data);
  const Golden cases[] = {
      {"", false, {}},
      {"hello hello", false, {"hello", "Ġhello"}},
      {"hell", false, {"hell"}},
      {"aaa", false, {"aa", "a"}},
      {"aaaa", false, {"aa", "aa"}},
      {"1234", false, {"123", "4"}},
      {"he's", false, {"he", "'s"}},
      {"é\n\n", false, {"Ã©", "ĊĊ"}},
      {"xyz", false, {"xyz"}},  // a word that is a token needs no merges
      {"xyza", false, {"x", "y", "z", "a"}},
      {"\xC3\xFF\xA9", false, {"Ã", "ÿ", "©"}},  // broken characters do not merge
      {"<|im_end|>", true, {"<|im_end|>"}},
      {"<|im_end|>", false, {"<", "|", "i", "m", "_", "e", "n", "d", "|", ">"}},
      {"a<tool>\n<tool>", false, {"a", "<tool>\n", "<tool>"}},
  };
  for (const Golden& golden : cases) {
    EXPECT_EQ(tokenizer->encode(golden.text, {.add_bos = false, .parse_special = golden.parse_special}),
              ids_of(data, golden.tokens))
        << golden.text;
  }
}

TEST(BpeTokenizer, PreTokenizersDiffer) {
  const TokenizerData data = bpe_data();
  EXPECT_EQ(must_make(bpe_data("qwen2"))->encode("123 xyz"), ids_of(data, {"1", "2", "3", "Ġ", "x", "y", "z"}));
  EXPECT_EQ(must_make(bpe_data("gpt-2"))->encode("123"), ids_of(data, {"123"}));
  EXPECT_EQ(must_make(bpe_data("llama3"))->encode("123"), ids_of(data, {"<|begin_of_text|>", "123"}));
}

TEST(BpeTokenizer, MergeProductsThatAreNoTokensFallApart) {
  TokenizerData data = bpe_data("gpt-2");
  data.merges.insert(data.merges.begin(), "q r");
  EXPECT_EQ(must_make(data)->encode("hqr"), ids_of(data, {"h", "q", "r"}));
}

TEST(BpeTokenizer, MergesNeverMakeAControlToken) {
  TokenizerData data = bpe_data("gpt-2");
  testing::add_token(data, "qr", TokenType::kControl);
  data.merges.insert(data.merges.begin(), "q r");
  EXPECT_EQ(must_make(data)->encode("qr"), ids_of(data, {"q", "r"}));
  data.pre = "llama-bpe";
  EXPECT_EQ(must_make(data)->encode("qr", {.add_bos = false}), ids_of(data, {"q", "r"}));
}

TEST(BpeTokenizer, BytesWithoutATokenBecomeTheReplacementCharacter) {
  TokenizerData data = bpe_data("gpt-2");
  data.tokens[0xC0] = "unused";
  const auto tokenizer = must_make(data);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("a\xC0z")), "a\uFFFDz");
}

}  // namespace
}  // namespace cairn
