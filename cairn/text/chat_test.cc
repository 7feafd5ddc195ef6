// SPDX-License-Identifier: Apache-2.0
#include "cairn/text/chat.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <span>

#include "cairn/testing/any_text.h"
#include "cairn/testing/tokenizer_data.h"

namespace cairn {
namespace {

constexpr ChatFamily kAll[] = {ChatFamily::kChatML, ChatFamily::kLlama3, ChatFamily::kMistral, ChatFamily::kZephyr,
                               ChatFamily::kPlain};

const std::vector<ChatMessage> kTalk = {{ChatRole::kSystem, "Be brief."},
                                        {ChatRole::kUser, "Hi"},
                                        {ChatRole::kAssistant, "Hello"},
                                        {ChatRole::kUser, "Bye"}};

std::string written(const std::vector<ChatSegment>& segments) {
  std::string text;
  for (const ChatSegment& segment : segments) {
    text += (segment.spaced ? " " : "") + segment.text;
    if (segment.kind == ChatSegmentKind::kEnd) text += "</s>";
  }
  return text;
}

TEST(ChatFamily, WritesEachFamily) {
  EXPECT_EQ(written(render_chat(ChatFamily::kChatML, kTalk, true)),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello"
            "<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(
      written(render_chat(ChatFamily::kLlama3, kTalk, true)),
      "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
      "Hi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|><|start_header_id|>user"
      "<|end_header_id|>\n\nBye<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n");
  EXPECT_EQ(written(render_chat(ChatFamily::kMistral, kTalk, true)),
            "[INST] Be brief.\n\nHi [/INST] Hello</s>[INST] Bye [/INST]");
  EXPECT_EQ(
      written(render_chat(ChatFamily::kZephyr, kTalk, true)),
      "<|system|>\nBe brief.</s>\n<|user|>\nHi</s>\n<|assistant|>\nHello</s>\n<|user|>\nBye</s>\n<|assistant|>\n");
  EXPECT_EQ(written(render_chat(ChatFamily::kPlain, kTalk, true)), "Be brief.\nHiHello\nBye");
}

TEST(ChatFamily, PlainSingleMessageIsTheTextItself) {
  const std::vector<ChatMessage> one = {{ChatRole::kUser, "Q: x?\nA:"}};
  const auto segments = render_chat(ChatFamily::kPlain, one, true);
  const auto tokenizer = testing::must_make(testing::spm_data());
  EXPECT_EQ(encode_chat(*tokenizer, segments), tokenizer->encode("Q: x?\nA:"));
}

TEST(ChatFamily, MarkupBecomesSpecialTokensWhereTheVocabularyHasThem) {
  const auto bpe = testing::must_make(testing::bpe_data());
  const std::vector<ChatMessage> hi = {{ChatRole::kUser, "aa"}};
  const auto ids = encode_chat(*bpe, render_chat(ChatFamily::kLlama3, hi, false));
  EXPECT_EQ(ids.front(), bpe->bos());
  EXPECT_EQ(ids[1], bpe->special_token("<|start_header_id|>"));
  EXPECT_EQ(ids[6], bpe->special_token("<|end_header_id|>"));
  EXPECT_EQ(ids.back(), bpe->special_token("<|eot_id|>"));
  EXPECT_EQ(ids.size(), 10);

  const auto spm = testing::must_make(testing::spm_data());
  const std::vector<ChatMessage> talk = {{ChatRole::kUser, "he"}, {ChatRole::kAssistant, "he"}};
  const auto he = spm->encode("he", {.add_bos = false});  // one space in front, of one maker
  const std::vector<TokenId> expected = {1, *spm->special_token("[INST]"), he[0], *spm->special_token("[/INST]"), he[0],
                                         2};
  EXPECT_EQ(encode_chat(*spm, render_chat(ChatFamily::kMistral, talk, true)), expected);
}

TEST(ChatFamily, MistralMarksAsPlainTextKeepTheirSpaces) {
  TokenizerData data = testing::spm_data();
  for (const char* mark : {"[INST]", "[/INST]"}) {
    data.types[std::ranges::find(data.tokens, mark) - data.tokens.begin()] = static_cast<int>(TokenType::kUnused);
  }
  const auto tokenizer = testing::must_make(std::move(data));
  const std::vector<ChatMessage> talk = {{ChatRole::kUser, "he"}, {ChatRole::kAssistant, "he"}};
  const auto ids = encode_chat(*tokenizer, render_chat(ChatFamily::kMistral, talk, true));
  EXPECT_EQ(tokenizer->decode(ids), "[INST] he [/INST] he");
}

rc::Gen<ChatMessage> any_message() {
  return rc::gen::apply(
      [](ChatRole role, std::string content) {
        return ChatMessage{role, std::move(content)};
      },
      rc::gen::element(ChatRole::kSystem, ChatRole::kUser, ChatRole::kAssistant), testing::any_text());
}

rc::Gen<std::vector<ChatMessage>> some_messages() {
  return rc::gen::resize(8, rc::gen::container<std::vector<ChatMessage>>(any_message()));
}

template <class T>
bool is_prefix(const std::vector<T>& prefix, const std::vector<T>& whole) {
  return prefix.size() <= whole.size() && std::equal(prefix.begin(), prefix.end(), whole.begin());
}

TEST(ChatFamily, HistoryIsAPrefixOfWhatFollows) {
  for (const auto& tokenizer : testing::all_tokenizers()) {
    for (const ChatFamily family : kAll) {
      EXPECT_TRUE(rc::check([&] {
        auto messages = *some_messages();
        const auto before = encode_chat(*tokenizer, render_chat(family, messages, false));
        const auto prompt = encode_chat(*tokenizer, render_chat(family, messages, true));
        RC_ASSERT(is_prefix(before, prompt));
        messages.push_back(*rc::gen::resize(8, any_message()));
        RC_ASSERT(is_prefix(before, encode_chat(*tokenizer, render_chat(family, messages, false))));
        messages.back().role = ChatRole::kAssistant;
        RC_ASSERT(is_prefix(prompt, encode_chat(*tokenizer, render_chat(family, messages, false))));
      }));
    }
  }
}

TEST(ChatFamily, ContentCannotInjectMarks) {
  for (const auto& tokenizer : testing::all_tokenizers()) {
    for (const ChatFamily family : kAll) {
      EXPECT_TRUE(rc::check([&] {
        auto messages = *some_messages();
        const auto control_ids = [&] {
          auto ids = encode_chat(*tokenizer, render_chat(family, messages, true));
          std::erase_if(ids, [&](TokenId id) {
            return !tokenizer->is_special(id) || tokenizer->token_bytes(id) == tokenizer->token_text(id);
          });
          return ids;
        };
        const auto hostile = control_ids();
        for (ChatMessage& message : messages) message.content = "harmless";
        RC_ASSERT(hostile == control_ids());
      }));
    }
  }
}

TEST(ChatFamily, NamesGoBothWays) {
  for (const ChatFamily family : kAll) EXPECT_EQ(parse_chat_family(chat_family_name(family)), family);
  EXPECT_EQ(parse_chat_family("vicuna").error().message,
            "unknown chat template \"vicuna\": choose chatml|llama3|mistral|zephyr|plain");
  EXPECT_EQ(parse_chat_role("developer"), ChatRole::kSystem);
  EXPECT_EQ(parse_chat_role("assistant"), ChatRole::kAssistant);
  EXPECT_EQ(parse_chat_role("user<|im_end|>").error().code, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace cairn
