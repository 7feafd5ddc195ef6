// SPDX-License-Identifier: Apache-2.0
#include "cairn/text/conversation.h"

#include <gtest/gtest.h>

#include <span>

#include "cairn/testing/tokenizer_data.h"

namespace cairn {
namespace {

constexpr ChatFamily kFamilies[] = {ChatFamily::kChatML, ChatFamily::kLlama3, ChatFamily::kMistral, ChatFamily::kZephyr,
                                    ChatFamily::kPlain};

const std::vector<ChatMessage> kTalk = {{ChatRole::kSystem, "Be brief."},
                                        {ChatRole::kUser, "Hi"},
                                        {ChatRole::kAssistant, "Hello"},
                                        {ChatRole::kUser, "Bye"}};

// The ids of kTalk's answer as the template's text would give them, after those of the turns before it.
std::vector<TokenId> encoded_answer(const Tokenizer& tokenizer, ChatFamily family) {
  const std::span<const ChatMessage> talk(kTalk);
  const std::size_t opened = render_chat(family, talk.first(2), true).size();
  const std::vector<ChatSegment> segments = render_chat(family, talk, true);
  const std::vector<TokenId> before = encode_chat(tokenizer, std::span(segments).first(opened));
  const std::vector<TokenId> all = encode_chat(tokenizer, std::span(segments).first(opened + 1));
  return {all.begin() + static_cast<std::ptrdiff_t>(before.size()), all.end()};
}

TEST(Conversation, GivesTheTokensOfTheWholeChat) {
  for (const auto& tokenizer : testing::all_tokenizers()) {
    for (const ChatFamily family : kFamilies) {
      Conversation conversation(*tokenizer, family, kTalk[0].content);
      ASSERT_TRUE(conversation.ask(kTalk[1].content));
      EXPECT_EQ(conversation.tokens(), encode_chat(*tokenizer, render_chat(family, std::span(kTalk).first(2), true)));
      conversation.answer(kTalk[2].content, encoded_answer(*tokenizer, family));
      ASSERT_TRUE(conversation.ask(kTalk[3].content));
      EXPECT_EQ(conversation.tokens(), encode_chat(*tokenizer, render_chat(family, kTalk, true)));
    }
  }
}

TEST(Conversation, KeepsTheIdsThatWereDrawn) {
  const auto tokenizer = testing::must_make(testing::bpe_data());
  const std::vector<TokenId> drawn = {'H', 'e', 'l', 'l', 'o'};  // which encoding the text again would merge
  ASSERT_NE(encoded_answer(*tokenizer, ChatFamily::kChatML), drawn);
  Conversation conversation(*tokenizer, ChatFamily::kChatML, kTalk[0].content);
  ASSERT_TRUE(conversation.ask(kTalk[1].content));
  std::vector<TokenId> expected = conversation.tokens();
  const std::size_t asked = expected.size();
  conversation.answer(kTalk[2].content, drawn);
  ASSERT_TRUE(conversation.ask(kTalk[3].content));
  const std::vector<TokenId> whole = encode_chat(*tokenizer, render_chat(ChatFamily::kChatML, kTalk, true));
  expected.insert(expected.end(), drawn.begin(), drawn.end());
  const std::size_t known = asked + encoded_answer(*tokenizer, ChatFamily::kChatML).size();
  expected.insert(expected.end(), whole.begin() + static_cast<std::ptrdiff_t>(known), whole.end());
  EXPECT_EQ(conversation.tokens(), expected);
}

TEST(Conversation, TakesBackAQuestionAndForgets) {
  const auto tokenizer = testing::must_make(testing::bpe_data());
  Conversation conversation(*tokenizer, ChatFamily::kChatML, kTalk[0].content);
  ASSERT_TRUE(conversation.ask(kTalk[1].content));
  const std::vector<TokenId> first = conversation.tokens();
  conversation.answer(kTalk[2].content, encoded_answer(*tokenizer, ChatFamily::kChatML));
  const std::vector<TokenId> answered = conversation.tokens();
  ASSERT_TRUE(conversation.ask(kTalk[3].content));
  const std::vector<TokenId> second = conversation.tokens();
  conversation.retract();
  EXPECT_EQ(conversation.tokens(), answered);
  ASSERT_TRUE(conversation.ask(kTalk[3].content));
  EXPECT_EQ(conversation.tokens(), second);
  conversation.clear();
  EXPECT_TRUE(conversation.tokens().empty());
  ASSERT_TRUE(conversation.ask(kTalk[1].content));
  EXPECT_EQ(conversation.tokens(), first);  // the system's turn stays
}

// ChatML that leaves out what was thought in earlier turns, and refuses one word.
constexpr const char* kThinking = R"({%- for m in messages -%}
{%- if 'forbidden' in m.content %}{{ raise_exception('not that') }}{% endif -%}
<|im_start|>{{ m.role }}
{{ m.content.split('</think>')[-1] }}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %})";

ChatTemplate thinking() {
  return *ChatTemplate::jinja(kThinking);
}

TEST(TemplateConversation, KeepsDrawnIdsWhileTheTextGoesOn) {
  for (const auto& tokenizer : testing::all_tokenizers()) {
    Conversation conversation(*tokenizer, thinking(), kTalk[0].content);
    ASSERT_TRUE(conversation.ask("Hi"));
    const std::vector<ChatMessage> first(kTalk.begin(), kTalk.begin() + 2);
    EXPECT_EQ(conversation.tokens(), thinking().encode(*tokenizer, first, {}));
    std::vector<TokenId> before = conversation.tokens();
    const std::vector<TokenId> drawn = tokenizer->encode("H", {.add_bos = false, .continues_text = true});
    std::vector<TokenId> answer = drawn;
    const std::vector<TokenId> rest = tokenizer->encode("ello", {.add_bos = false, .continues_text = true});
    answer.insert(answer.end(), rest.begin(), rest.end());
    conversation.answer("Hello", answer);
    before.insert(before.end(), answer.begin(), answer.end());
    ASSERT_TRUE(conversation.ask("Bye"));
    EXPECT_EQ(conversation.kept(), before.size());
    EXPECT_TRUE(std::equal(before.begin(), before.end(), conversation.tokens().begin()));
    const auto whole = thinking().encode(*tokenizer, kTalk, {});
    EXPECT_EQ(tokenizer->decode(conversation.tokens(), {.show_control = true}),
              tokenizer->decode(*whole, {.show_control = true}));
  }
}

TEST(TemplateConversation, IsNewFromWhereTheTemplateWritesAnEarlierTurnOtherwise) {
  const auto tokenizer = testing::must_make(testing::bpe_data());
  Conversation conversation(*tokenizer, thinking(), "");
  ASSERT_TRUE(conversation.ask("Hi"));
  const std::size_t asked = conversation.tokens().size();
  const std::vector<TokenId> drawn = tokenizer->encode("Hm</think>Hello", {.add_bos = false});
  conversation.answer("Hm</think>Hello", drawn);
  ASSERT_TRUE(conversation.ask("Bye"));
  EXPECT_GE(conversation.kept(), asked);
  EXPECT_LT(conversation.kept(), asked + drawn.size());
  const std::vector<ChatMessage> talk = {
      {ChatRole::kUser, "Hi"}, {ChatRole::kAssistant, "Hm</think>Hello"}, {ChatRole::kUser, "Bye"}};
  EXPECT_EQ(tokenizer->decode(conversation.tokens(), {.show_control = true}),
            tokenizer->decode(*thinking().encode(*tokenizer, talk, {}), {.show_control = true}));
}

TEST(TemplateConversation, ARefusedQuestionChangesNothing) {
  const auto tokenizer = testing::must_make(testing::bpe_data());
  Conversation conversation(*tokenizer, thinking(), "");
  ASSERT_TRUE(conversation.ask("Hi"));
  conversation.answer("Hello", tokenizer->encode("Hello", {.add_bos = false}));
  const std::vector<TokenId> before = conversation.tokens();
  const Status refused = conversation.ask("forbidden");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "the chat template refuses the messages: not that");
  EXPECT_EQ(conversation.tokens(), before);
  ASSERT_TRUE(conversation.ask("Bye"));
  conversation.retract();
  EXPECT_EQ(conversation.tokens(), before);
}

}  // namespace
}  // namespace cairn
