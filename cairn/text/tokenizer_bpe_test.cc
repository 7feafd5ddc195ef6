// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>

#include "cairn/testing/tokenizer_data.h"

namespace cairn {
namespace {

using testing::bpe_data;
using testing::Golden;
using testing::ids_of;
using testing::must_make;

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

// The definition: apply the rule of lowest rank among the neighbours, leftmost first, until none applies.
std::vector<std::string> merge_naively(const std::vector<std::string>& merges, std::string_view text) {
  std::vector<std::string> pieces;
  for (const char c : text) pieces.emplace_back(1, c);
  while (true) {
    auto best_rule = merges.end();
    std::size_t best = 0;
    for (std::size_t i = 0; i + 1 < pieces.size(); ++i) {
      const auto rule = std::find(merges.begin(), best_rule, pieces[i] + " " + pieces[i + 1]);
      if (rule == best_rule) continue;
      best_rule = rule;
      best = i;
    }
    if (best_rule == merges.end()) return pieces;
    pieces[best] += pieces[best + 1];
    pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

TEST(BpeTokenizer, MergesAsDefined) {
  EXPECT_TRUE(rc::check([] {
    std::vector<std::string> words = {"a", "b", "c"};
    TokenizerData data = bpe_data("gpt-2");
    data.merges.clear();
    const int rules = *rc::gen::inRange(1, 12);
    for (int i = 0; i < rules; ++i) {  // any two words so far, so that rules build on each other in any order
      const std::string left = *rc::gen::elementOf(words), right = *rc::gen::elementOf(words);
      if (left.size() + right.size() > 8) continue;
      data.merges.insert(data.merges.begin() + *rc::gen::inRange<int>(0, static_cast<int>(data.merges.size()) + 1),
                         left + " " + right);
      words.push_back(left + right);
      testing::add_token(data, left + right, TokenType::kNormal);
    }
    RC_PRE(!data.merges.empty());
    const std::string text = *rc::gen::container<std::string>(rc::gen::element('a', 'b', 'c'));
    RC_ASSERT(must_make(data)->encode(text) == ids_of(data, merge_naively(data.merges, text)));
  }));
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
