// SPDX-License-Identifier: Apache-2.0
#include "cairn/load/stream_event.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace cairn {
namespace {

TEST(StreamEvent, TextOfChatsAndCompletions) {
  EXPECT_EQ(parse_stream_event(R"({"choices":[{"text":"a"}]})").text, "a");
  EXPECT_EQ(parse_stream_event(R"({"choices":[{"delta":{"content":"b"},"finish_reason":null}]})").text, "b");
  EXPECT_EQ(parse_stream_event(R"({"choices":[{"delta":{"reasoning_content":"c","content":null}}]})").text, "c");
  EXPECT_TRUE(parse_stream_event(R"({"choices":[{"delta":{},"finish_reason":"stop"}]})").finished);
  EXPECT_TRUE(parse_stream_event("[DONE]").done);
}

TEST(StreamEvent, CachedTokensAreToldInThreeWays) {
  const auto cached = [](const char* data) { return parse_stream_event(data).usage.cached; };
  EXPECT_EQ(
      cached(R"({"usage":{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":4}},"timings":{"cache_n":5}})"),
      4u);
  EXPECT_EQ(cached(R"({"usage":{"prompt_tokens":9},"timings":{"cache_n":5,"prompt_n":1}})"), 5u);
  EXPECT_EQ(cached(R"({"usage":{"prompt_tokens":9},"timings":{"prompt_n":2}})"), 7u);
  EXPECT_EQ(cached(R"({"usage":{"prompt_tokens":9},"timings":{"prompt_n":10}})"), std::nullopt);
  EXPECT_EQ(cached(R"({"usage":{"prompt_tokens":9}})"), std::nullopt);
}

TEST(StreamEvent, NumbersThatCountNothing) {
  EXPECT_TRUE(parse_stream_event(R"({"usage":{"prompt_tokens":9,"completion_tokens":null}})").counted);
  EXPECT_FALSE(parse_stream_event(R"({"usage":{"prompt_tokens":-9}})").counted);
  EXPECT_FALSE(parse_stream_event(R"({"usage":{"completion_tokens":1e300}})").counted);
  EXPECT_FALSE(parse_stream_event(R"({"timings":{"cache_n":-1}})").counted);
}

TEST(StreamEvent, Errors) {
  EXPECT_EQ(parse_stream_event(R"({"error":{"message":"no\nmore"}})").error, "no");
  EXPECT_EQ(parse_stream_event(R"({"error":"text"})").error, "text");
  EXPECT_FALSE(parse_stream_event(R"({"error":{}})").error.empty());
  EXPECT_FALSE(parse_stream_event("<html>").readable);
  EXPECT_FALSE(parse_stream_event("[1]").readable);
  EXPECT_EQ(error_message(R"({"error":{"message":"wrong"}})"), "wrong");
  EXPECT_EQ(error_message("<html>\n"), "<html>");
}

TEST(StreamEvent, OtherTypesThanExpectedAreNothing) {
  const std::vector<std::string> values = {"null", "3", "-1", "\"x\"", "[]", "[null]", "{}", "1e300", "true"};
  EXPECT_TRUE(rc::check([&] {
    const auto value = [&] { return *rc::gen::elementOf(values); };
    const std::string data = R"({"choices":[{"text":)" + value() + R"(,"delta":)" + value() + R"(,"finish_reason":)" +
                             value() + R"(},)" + value() + R"(],"usage":{"prompt_tokens":)" + value() +
                             R"(,"completion_tokens":)" + value() + R"(,"prompt_tokens_details":)" + value() +
                             R"(},"timings":)" + value() + "}";
    RC_ASSERT(parse_stream_event(data).readable);
  }));
}

}  // namespace
}  // namespace cairn
