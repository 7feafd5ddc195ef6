// SPDX-License-Identifier: Apache-2.0
#include "cairn/text/tokenizer.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>

#include "cairn/gguf/gguf.h"
#include "cairn/testing/any_text.h"
#include "cairn/testing/tokenizer_data.h"

namespace cairn {
namespace {

using testing::add_token;
using testing::all_tokenizers;
using testing::any_text;
using testing::bpe_data;
using testing::must_make;
using testing::spm_data;

TEST(Tokenizer, AnyBytesSurviveTheRoundTrip) {
  for (const auto& tokenizer : all_tokenizers()) {
    EXPECT_TRUE(rc::check([&] {
      const std::string text = *any_text();
      const bool special = *rc::gen::arbitrary<bool>();
      const bool continues = *rc::gen::arbitrary<bool>();
      const auto ids =
          tokenizer->encode(text, {.add_bos = false, .parse_special = special, .continues_text = continues});
      RC_ASSERT(tokenizer->decode(ids, {.show_control = special, .continues_text = continues}) == text);
      RC_ASSERT(tokenizer->decode(tokenizer->encode(text)) == text);
    }));
  }
}

TEST(Tokenizer, TextNeverBecomesAControlToken) {
  for (const auto& tokenizer : all_tokenizers()) {
    EXPECT_TRUE(rc::check([&] {
      for (const TokenId id : tokenizer->encode(*any_text(), {.add_bos = false})) {
        RC_ASSERT(!tokenizer->is_special(id) || tokenizer->token_bytes(id) == tokenizer->token_text(id));
        RC_ASSERT(!tokenizer->is_end_of_generation(id));
      }
    }));
  }
}

TEST(Tokenizer, StreamingDecodeEqualsWholeDecode) {
  for (const auto& tokenizer : all_tokenizers()) {
    EXPECT_TRUE(rc::check([&] {
      const auto ids = *rc::gen::container<std::vector<TokenId>>(
          rc::gen::inRange<TokenId>(-2, static_cast<TokenId>(tokenizer->size()) + 2));
      const DecodeOptions options{.show_control = *rc::gen::arbitrary<bool>(),
                                  .continues_text = *rc::gen::arbitrary<bool>()};
      TokenStream stream(*tokenizer, options);
      std::string text;
      for (const TokenId id : ids) text += stream.feed(id);
      RC_ASSERT(text + stream.finish() == tokenizer->decode(ids, options));
    }));
  }
}

TEST(Tokenizer, NoTokenStandsForMoreThanTheLongest) {
  for (const auto& tokenizer : all_tokenizers()) {
    EXPECT_TRUE(rc::check([&] {
      const std::string text = *any_text();
      const auto ids = tokenizer->encode(text, {.add_bos = false, .parse_special = *rc::gen::arbitrary<bool>()});
      RC_ASSERT(ids.size() * tokenizer->longest_token_bytes() >= text.size());
    }));
  }
  const auto tokenizer = must_make(spm_data());
  std::size_t longest = 1;
  for (TokenId id = 0; static_cast<std::size_t>(id) < tokenizer->size(); ++id) {
    const std::string_view text = tokenizer->is_special(id) ? tokenizer->token_text(id) : tokenizer->token_bytes(id);
    longest = std::max(longest, text.size());
  }
  EXPECT_EQ(tokenizer->longest_token_bytes(), longest);
}

TEST(Tokenizer, LongRunsStayNearLinear) {
  for (const auto& tokenizer : all_tokenizers()) {
    for (const std::string unit : {"a", " ", "\n", "<", "1", "\xFF", "he ", "<tool>"}) {
      std::string text;
      while (text.size() < 200'000) text += unit;
      const auto start = std::chrono::steady_clock::now();
      const auto ids = tokenizer->encode(text, {.add_bos = false});
      EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5)) << unit;
      EXPECT_EQ(tokenizer->decode(ids), text);
    }
  }
}

TEST(Tokenizer, EndOfGenerationByIdAndByText) {
  TokenizerData data = bpe_data();
  data.types[std::ranges::find(data.tokens, "<|im_end|>") - data.tokens.begin()] = 4;  // a known converter mistake
  data.eot_token_id = 5;
  const auto tokenizer = must_make(data);
  for (const char* text : {"<|im_end|>", "<|eot_id|>", "<|endoftext|>"}) {
    const auto id = tokenizer->special_token(text);
    ASSERT_TRUE(id);
    EXPECT_TRUE(tokenizer->is_end_of_generation(*id)) << text;
    EXPECT_EQ(tokenizer->token_bytes(*id), "");
    EXPECT_EQ(tokenizer->token_text(*id), text);
  }
  EXPECT_TRUE(tokenizer->is_end_of_generation(5));
  EXPECT_FALSE(tokenizer->is_end_of_generation(6));
  EXPECT_FALSE(tokenizer->is_end_of_generation(-1));
  EXPECT_FALSE(tokenizer->is_end_of_generation(1 << 20));
  const std::string text = "<|im_end|>";
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
  EXPECT_EQ(tokenizer->encode(text, {.add_bos = false}).size(), text.size());
}

TEST(Tokenizer, InHarmonyTheEndOfAMessageIsNotThatOfTheTurn) {
  TokenizerData data = bpe_data("gpt-4o");
  const auto end_ends = [&] {
    TokenizerData copy = data;
    const auto tokenizer = must_make(std::move(copy));
    return tokenizer->is_end_of_generation(*tokenizer->special_token("<|end|>"));
  };
  add_token(data, "<|end|>", TokenType::kControl);
  add_token(data, "<|return|>", TokenType::kControl);
  EXPECT_TRUE(end_ends());  // as in Phi's
  add_token(data, "<|call|>", TokenType::kControl);
  EXPECT_FALSE(end_ends());
  const auto tokenizer = must_make(data);
  for (const char* text : {"<|return|>", "<|call|>"}) {
    EXPECT_TRUE(tokenizer->is_end_of_generation(*tokenizer->special_token(text)));
  }
}

TEST(Tokenizer, TurnMarksAreControlTokensWhateverTheFileSays) {
  TokenizerData data = bpe_data();
  for (const char* text : {"<|im_start|>", "<|begin_of_text|>"}) {
    data.types[std::ranges::find(data.tokens, text) - data.tokens.begin()] = static_cast<int>(TokenType::kUserDefined);
  }
  const auto tokenizer = must_make(data);
  EXPECT_EQ(tokenizer->encode("<|im_start|>", {.add_bos = false}).size(), 12);
  EXPECT_EQ(tokenizer->encode("<|begin_of_text|>", {.add_bos = false}).size(), 17);
  EXPECT_EQ(tokenizer->encode("<|im_start|>", {.add_bos = false, .parse_special = true}).size(), 1);
}

TEST(Tokenizer, MissingTypesAreGuessed) {
  TokenizerData data = spm_data();
  data.types.clear();
  const auto tokenizer = must_make(data);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("hello\n世 <s>")), "hello\n世 <s>");
  EXPECT_EQ(tokenizer->token_bytes(1), "");
  EXPECT_EQ(tokenizer->token_bytes(3 + 10), "\n");
}

TEST(Tokenizer, DigestCoversWhatDecidesIds) {
  EXPECT_EQ(must_make(spm_data())->digest(), must_make(spm_data())->digest());
  EXPECT_EQ(must_make(bpe_data("llama3"))->digest(), must_make(bpe_data("llama-bpe"))->digest());
  std::vector<TokenizerData> variants = {spm_data(), bpe_data(), bpe_data("qwen2")};
  const auto vary = [&](TokenizerData data, const std::function<void(TokenizerData&)>& change) {
    change(data);
    variants.push_back(std::move(data));
  };
  vary(spm_data(), [](auto& d) { d.scores.back() = 1; });
  vary(spm_data(), [](auto& d) { d.tokens.back() += "x"; });
  vary(spm_data(), [](auto& d) { d.types.back() = 1; });
  vary(spm_data(), [](auto& d) { d.add_bos_token = false; });
  vary(spm_data(), [](auto& d) { d.add_eos_token = true; });
  vary(spm_data(), [](auto& d) { d.add_space_prefix = false; });
  vary(spm_data(), [](auto& d) { d.bos_token_id = 2; });
  vary(spm_data(), [](auto& d) { d.eos_token_id = 1; });
  vary(spm_data(), [](auto& d) { d.unknown_token_id.reset(); });
  vary(bpe_data(), [](auto& d) { std::swap(d.merges[0], d.merges[1]); });
  std::vector<Digest> digests;
  for (const TokenizerData& data : variants) digests.push_back(must_make(data)->digest());
  std::ranges::sort(digests);
  EXPECT_EQ(std::ranges::adjacent_find(digests), digests.end());
}

TEST(Tokenizer, BadMetadataIsNamedInOneLine) {
  struct Case {
    TokenizerData data;
    std::function<void(TokenizerData&)> damage;
    ErrorCode code;
    const char* mentions;
  };
  const Case cases[] = {
      {spm_data(), [](auto& d) { d.model = ""; }, ErrorCode::kCorrupt, "tokenizer.ggml.model is missing"},
      {spm_data(), [](auto& d) { d.model = "be\nrt"; }, ErrorCode::kUnsupported,
       "\"be rt\": supported are llama, gpt2"},
      {spm_data(), [](auto& d) { d.tokens.clear(); }, ErrorCode::kCorrupt, "tokenizer.ggml.tokens is missing"},
      {spm_data(), [](auto& d) { d.scores.pop_back(); }, ErrorCode::kCorrupt, "tokenizer.ggml.scores has"},
      {spm_data(), [](auto& d) { d.scores[7] = 0.0F / 0.0F; }, ErrorCode::kCorrupt, "tokenizer.ggml.scores holds"},
      {spm_data(), [](auto& d) { d.types.pop_back(); }, ErrorCode::kCorrupt, "tokenizer.ggml.token_type has"},
      {spm_data(), [](auto& d) { d.types[9] = 7; }, ErrorCode::kCorrupt, "token_type says 7 for token 9"},
      {spm_data(), [](auto& d) { d.tokens[9] = "<0xZZ>"; }, ErrorCode::kCorrupt, "byte token 9"},
      {spm_data(), [](auto& d) { d.bos_token_id = 1 << 20; }, ErrorCode::kCorrupt, "bos_token_id is 1048576"},
      {spm_data(), [](auto& d) { d.eos_token_id = -2; }, ErrorCode::kCorrupt, "eos_token_id is -2"},
      {spm_data(), [](auto& d) { d.eot_token_id = 99999; }, ErrorCode::kCorrupt, "eot_token_id is 99999"},
      {spm_data(), [](auto& d) { d.unknown_token_id = 99999; }, ErrorCode::kCorrupt, "unknown_token_id is 99999"},
      {spm_data(),
       [](auto& d) {
         d.bos_token_id.reset();
         d.add_bos_token = true;
       },
       ErrorCode::kCorrupt, "bos_token_id is missing"},
      {spm_data(),
       [](auto& d) {
         d.eos_token_id.reset();
         d.add_eos_token = true;
       },
       ErrorCode::kCorrupt, "eos_token_id is missing"},
      {spm_data(),
       [](auto& d) {
         d.unknown_token_id.reset();
         d.types[3 + 0x80] = 1;
       },
       ErrorCode::kCorrupt, "no token for byte 128"},
      {bpe_data(), [](auto& d) { d.merges.clear(); }, ErrorCode::kCorrupt, "tokenizer.ggml.merges is missing"},
      {bpe_data(), [](auto& d) { d.merges[2] = "ab"; }, ErrorCode::kCorrupt, "tokenizer.ggml.merges entry 2"},
      {bpe_data(), [](auto& d) { d.merges[2] = ""; }, ErrorCode::kCorrupt, "tokenizer.ggml.merges entry 2"},
      {bpe_data(), [](auto& d) { d.merges[2] = "a "; }, ErrorCode::kCorrupt, "tokenizer.ggml.merges entry 2"},
      {bpe_data(), [](auto& d) { d.pre = "poro-chat"; }, ErrorCode::kUnsupported, "supported are llama-bpe"},
      {bpe_data(), [](auto& d) { d.tokens[0xBD] = "gone"; }, ErrorCode::kCorrupt, "no token for byte 189"},
  };
  for (const Case& c : cases) {
    TokenizerData data = c.data;
    c.damage(data);
    const auto made = make_tokenizer(std::move(data));
    ASSERT_FALSE(made) << c.mentions;
    EXPECT_EQ(made.error().code, c.code) << made.error().message;
    EXPECT_NE(made.error().message.find(c.mentions), std::string::npos) << made.error().message;
    EXPECT_EQ(made.error().message.find('\n'), std::string::npos);
  }
}

std::unique_ptr<const Tokenizer> open_tokenizer(const std::string& path) {
  return must_make(*read_tokenizer_data(*GgufFile::open(path)));
}

std::string read_file(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

TEST(Tokenizer, IdsOfTheShippedModel) {  // as llama.cpp gives them
  const auto tokenizer = open_tokenizer(CAIRN_SOURCE_DIR "/models/cairn-tiny-f16.gguf");
  EXPECT_EQ(tokenizer->size(), 4096);
  const EncodeOptions plain{.add_bos = false};
  EXPECT_EQ(tokenizer->encode("Once upon a time", plain), (std::vector<TokenId>{481, 1154, 1063, 262, 660}));
  EXPECT_EQ(tokenizer->encode("  hello <s> 世界", plain),
            (std::vector<TokenId>{4014, 4014, 3172, 4018, 4014, 64, 4021, 4095, 4014, 232, 188, 154, 235, 153, 144}));
}

TEST(Tokenizer, RealTextsSurviveTheRoundTrip) {
  const std::string shared = CAIRN_SOURCE_DIR "/../shared/data";
  if (!std::filesystem::exists(shared)) GTEST_SKIP() << "no shared data beside the source tree";
  const auto stories = open_tokenizer(shared + "/stories260K/stories260K.gguf");
  const auto tiny = open_tokenizer(CAIRN_SOURCE_DIR "/models/cairn-tiny-f16.gguf");
  for (const auto& file : std::filesystem::directory_iterator(shared + "/text")) {
    const std::string text = read_file(file.path());
    EXPECT_EQ(stories->decode(stories->encode(text)), text) << file.path();
    EXPECT_EQ(tiny->decode(tiny->encode(text)), text) << file.path();
  }
}

}  // namespace
}  // namespace cairn
