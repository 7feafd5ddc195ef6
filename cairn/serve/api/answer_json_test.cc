// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/api/answer_json.h"

#include <gtest/gtest.h>

#include <cmath>

#include "cairn/testing/fake_backend.h"

namespace cairn::api {
namespace {

class AnswerJsonTest : public testing::Test {
 protected:
  static const Tokenizer& tokenizer() {
    static FakeBackend backend;
    return backend.tokenizer();
  }
  AnswerHead head(bool chat) const {
    return {.chat = chat, .id = "x-1", .model = "tiny", .created = 5, .tokenizer = &tokenizer()};
  }
  static GeneratedPiece piece(const std::string& text, TokenId id, float logprob) {
    return {
        .text = text, .id = id, .has_token = true, .logprob = TokenLogprob{id, logprob}, .top_logprobs = {{4, -1.0F}}};
  }
};

TEST_F(AnswerJsonTest, AnEventIsOneLine) {
  const std::string event = sse_event(piece_chunk(head(true), 2, {.text = "a\nb\r\"\xff"}, 0));
  EXPECT_EQ(event,
            "data: {\"id\":\"x-1\",\"object\":\"chat.completion.chunk\",\"created\":5,\"model\":\"tiny\",\"choices\":[{"
            "\"index\":2,\"delta\":{\"content\":\"a\\nb\\r\\\"\xEF\xBF\xBD\"},\"logprobs\":null,\"finish_reason\":null}"
            "]}\n\n");
  EXPECT_EQ(kSseDone, "data: [DONE]\n\n");
}

TEST_F(AnswerJsonTest, AStreamBeginsAndEnds) {
  EXPECT_EQ(first_chunk(head(true), 0, "")["choices"][0]["delta"],
            (OrderedJson{{"role", "assistant"}, {"content", ""}}));
  const OrderedJson last = last_chunk(head(true), 1, FinishReason::kLength);
  EXPECT_EQ(last["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(last["choices"][0]["delta"], OrderedJson::object());
  AnswerHead with_usage = head(false);
  with_usage.usage_in_chunks = true;
  EXPECT_TRUE(piece_chunk(with_usage, 0, {.text = "a"}, 0)["usage"].is_null());
  EXPECT_FALSE(piece_chunk(head(false), 0, {.text = "a"}, 0).contains("usage"));
  const OrderedJson usage = usage_chunk(with_usage, {.prompt_tokens = 7, .cached_tokens = 4, .completion_tokens = 2});
  EXPECT_TRUE(usage["choices"].empty());
  EXPECT_EQ(usage["usage"]["total_tokens"], 9);
  EXPECT_EQ(usage["usage"]["prompt_tokens_details"]["cached_tokens"], 4);
}

TEST_F(AnswerJsonTest, LogprobsHaveTheFormOfTheirEndpoint) {
  const std::vector<AnswerChoice> choices = {{.text = "h\xC3\xA9!",
                                              .tokens = {piece("h\xC3\xA9", 3, -0.5F), piece("!", 5, -INFINITY)},
                                              .reason = FinishReason::kStop}};
  const OrderedJson chat = OrderedJson::parse(answer_json(head(true), choices, {}));
  const OrderedJson& content = chat["choices"][0]["logprobs"]["content"];
  ASSERT_EQ(content.size(), 2u);
  EXPECT_EQ(content[0]["token"], "t3");
  EXPECT_EQ(content[0]["logprob"], -0.5);
  EXPECT_EQ(content[0]["bytes"], (OrderedJson{'t', '3'}));
  EXPECT_EQ(content[0]["top_logprobs"][0]["token"], "t4");
  EXPECT_EQ(content[1]["logprob"], -9999.0);
  EXPECT_EQ(chat["choices"][0]["message"]["content"], "h\xC3\xA9!");

  const OrderedJson plain = OrderedJson::parse(answer_json(head(false), choices, {}));
  const OrderedJson& logprobs = plain["choices"][0]["logprobs"];
  EXPECT_EQ(logprobs["tokens"], (OrderedJson{"t3", "t5"}));
  EXPECT_EQ(logprobs["token_logprobs"][0], -0.5);
  EXPECT_EQ(logprobs["top_logprobs"][0]["t4"], -1.0);
  EXPECT_EQ(logprobs["text_offset"], (OrderedJson{0, 2}));
  EXPECT_EQ(plain["object"], "text_completion");
}

}  // namespace
}  // namespace cairn::api
