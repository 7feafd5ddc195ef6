// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <map>

#include "cairn/testing/tokenizer_data.h"
#include "cairn/text/begin_token.h"

namespace cairn {
namespace {

using testing::Golden;
using testing::ids_of;
using testing::must_make;
using testing::spm_data;

TEST(SpmTokenizer, Golden) {
  const TokenizerData data = spm_data();
  const auto tokenizer = must_make(data);
  const Golden cases[] = {
      {"", false, {}},
      {"hello", false, {"▁hello"}},
      {"hello hello", false, {"▁hello", "▁hello"}},
      {"hellow", false, {"▁hello", "w"}},
      {"  he", false, {"▁", "▁", "▁he"}},
      {"aaa", false, {"▁", "aa", "a"}},  // equal scores: the leftmost pair
      {"wé\n", false, {"▁w", "é", "<0x0A>"}},
      {"世", false, {"▁", "<0xE4>", "<0xB8>", "<0x96>"}},
      {"a\xFFz", false, {"▁", "a", "<0xFF>", "<0x7A>"}},
      {"▁", false, {"▁", "<0xE2>", "<0x96>", "<0x81>"}},  // a real U+2581 is not a space
      {"<s>", false, {"▁", "<s", ">"}},                   // a control token cannot be built from text
      {"<s>he</s> he", true, {"<s>", "▁he", "</s>", "▁", "▁he"}},
      {"<unk>a", true, {"<unk>", "▁", "a"}},
      {"he<tool>he", false, {"▁he", "<tool>", "▁he"}},  // longest first, then leftmost
      {"<tool>>", false, {"<tool>>"}},
      {"ool>he", false, {"ool>he"}},
  };
  for (const Golden& golden : cases) {
    EXPECT_EQ(tokenizer->encode(golden.text, {.add_bos = false, .parse_special = golden.parse_special}),
              ids_of(data, golden.tokens))
        << golden.text;
  }
}

TEST(SpmTokenizer, ABeginTokenInTheTextIsTheOneThatTheModelWants) {
  const TokenizerData data = spm_data();
  const auto tokenizer = must_make(data);
  ASSERT_TRUE(tokenizer->adds_bos());
  const auto encoded = [&](const char* text, bool parse_special) {
    return tokenizer->encode(text, {.add_bos = true, .parse_special = parse_special});
  };
  EXPECT_EQ(encoded("<s>he", true), ids_of(data, {"<s>", "▁he"}));
  EXPECT_EQ(encoded("he", true), ids_of(data, {"<s>", "▁he"}));
  EXPECT_EQ(encoded("<s><s>he", true), ids_of(data, {"<s>", "<s>", "▁he"}));  // only the first one can be that
  EXPECT_EQ(encoded("<s>", false), ids_of(data, {"<s>", "▁", "<s", ">"}));

  const EncodeOptions special{.parse_special = true};
  EXPECT_TRUE(doubles_bos(*tokenizer, "<s>he", special));
  EXPECT_FALSE(doubles_bos(*tokenizer, "he<s>", special));
  EXPECT_FALSE(doubles_bos(*tokenizer, "", special));
  EXPECT_FALSE(doubles_bos(*tokenizer, "<s>he", {}));
  EXPECT_FALSE(doubles_bos(*tokenizer, "<s>he", {.add_bos = false, .parse_special = true}));
  TokenizerData longer = data;
  testing::add_token(longer, "<s>he", TokenType::kControl);
  EXPECT_FALSE(doubles_bos(*must_make(longer), "<s>he", special));
}

TEST(SpmTokenizer, OverlappingSpecialsTakeTheLongestFirst) {
  TokenizerData data = spm_data();
  testing::add_token(data, "heh", TokenType::kUserDefined);
  testing::add_token(data, "ehehe", TokenType::kUserDefined);
  const auto tokenizer = must_make(data);
  EXPECT_EQ(tokenizer->encode("hehehe", {.add_bos = false}), ids_of(data, {"▁", "h", "ehehe"}));
  EXPECT_EQ(tokenizer->encode("heheh", {.add_bos = false}), ids_of(data, {"heh", "▁", "e", "h"}));
}

TEST(SpmTokenizer, BeginEndAndSpacePrefixFollowTheMetadata) {
  TokenizerData data = spm_data();
  EXPECT_EQ(must_make(data)->encode("he"), ids_of(data, {"<s>", "▁he"}));
  EXPECT_EQ(must_make(data)->encode(""), ids_of(data, {"<s>"}));
  EXPECT_EQ(must_make(data)->encode("he", {.add_bos = false, .continues_text = true}), ids_of(data, {"he"}));
  data.add_eos_token = true;
  data.add_bos_token = false;
  data.add_space_prefix = false;
  EXPECT_EQ(must_make(data)->encode("he"), ids_of(data, {"he", "</s>"}));
}

TEST(SpmTokenizer, WithoutByteTokensTheUnknownTokenStands) {
  TokenizerData data = testing::empty_spm_data();
  data.add_space_prefix = false;
  testing::add_token(data, "a", TokenType::kNormal);
  const auto tokenizer = must_make(data);
  EXPECT_EQ(tokenizer->encode("aéa"), (std::vector<TokenId>{1, 0, 0, 1}));
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{1, 0, 1}), "a\uFFFDa");
}

// The definition: merge the best pair of neighbours, leftmost first, until there is none.
std::vector<std::string> merge_naively(const std::map<std::string, float>& scores, std::string_view text) {
  std::vector<std::string> pieces;
  for (const char c : text) pieces.emplace_back(1, c);
  while (true) {
    std::size_t best = pieces.size();
    for (std::size_t i = 0; i + 1 < pieces.size(); ++i) {
      const auto it = scores.find(pieces[i] + pieces[i + 1]);
      if (it == scores.end()) continue;
      if (best == pieces.size() || it->second > scores.at(pieces[best] + pieces[best + 1])) best = i;
    }
    if (best == pieces.size()) return pieces;
    pieces[best] += pieces[best + 1];
    pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

TEST(SpmTokenizer, MergesAsDefined) {
  EXPECT_TRUE(rc::check([] {
    const auto word = rc::gen::resize(5, rc::gen::container<std::string>(rc::gen::element('a', 'b', 'c')));
    const auto words = *rc::gen::container<std::vector<std::pair<std::string, int>>>(
        rc::gen::pair(word, rc::gen::inRange(-4, 0)));  // few scores, so that ties are common
    std::map<std::string, float> scores = {{"a", -9}, {"b", -9}, {"c", -9}};
    for (const auto& [text, score] : words) {
      if (!text.empty()) scores.try_emplace(text, static_cast<float>(score));
    }
    TokenizerData data = testing::empty_spm_data();
    data.add_space_prefix = false;
    for (const auto& [text, score] : scores) testing::add_token(data, text, TokenType::kNormal, score);
    const std::string text = *rc::gen::container<std::string>(rc::gen::element('a', 'b', 'c'));
    RC_ASSERT(must_make(data)->encode(text) == ids_of(data, merge_naively(scores, text)));
  }));
}

}  // namespace
}  // namespace cairn
