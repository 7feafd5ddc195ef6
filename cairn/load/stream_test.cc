// SPDX-License-Identifier: Apache-2.0
#include "cairn/load/stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <vector>

namespace cairn::load {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> events_of(const std::vector<std::string>& parts) {
  SseParser parser;
  std::vector<std::string> events;
  for (const std::string& part : parts) {
    parser.feed(part, [&](std::string_view data) { events.emplace_back(data); });
  }
  return events;
}

TEST(SseParser, EventsAreWhatTheStandardSays) {
  EXPECT_THAT(events_of({"data: a\n\ndata:b\n\n"}), ElementsAre("a", "b"));
  EXPECT_THAT(events_of({"data: a\r\n\r\ndata: b\r\rdata: c\n\n"}), ElementsAre("a", "b", "c"));
  EXPECT_THAT(events_of({"data: a\ndata:  b\n\n"}), ElementsAre("a\n b"));
  EXPECT_THAT(events_of({": ping\n\nevent: x\nid: 3\ndata: a\nretry: 1\n\n"}), ElementsAre("a"));
  EXPECT_THAT(events_of({"data\n\ndatabase: x\n\ndata:\n\n"}), ElementsAre("", ""));
  EXPECT_THAT(events_of({"data: not ended\n"}), IsEmpty());
}

TEST(SseParser, HowBytesArriveChangesNothing) {
  EXPECT_TRUE(rc::check([] {
    const auto texts = *rc::gen::container<std::vector<std::string>>(rc::gen::elementOf(std::vector<std::string>{
        "data: ", "data:", "data", ":", "x", " ", "\n", "\r", "\r\n", "\n\n", "event: e", "{\"a\":1}", "\xC3\xA9"}));
    std::string stream;
    for (const std::string& text : texts) stream += text;
    std::vector<std::string> parts;
    for (std::size_t at = 0; at < stream.size();) {
      const std::size_t size = *rc::gen::inRange<std::size_t>(1, 6);
      parts.push_back(stream.substr(at, size));
      at += size;
    }
    RC_ASSERT(events_of(parts) == events_of({stream}));
  }));
}

TEST(SseParser, WhatWasWrittenIsRead) {
  EXPECT_TRUE(rc::check([] {
    const auto lines = rc::gen::container<std::string>(rc::gen::inRange<char>(' ', 127));
    const auto events = *rc::gen::container<std::vector<std::string>>(lines);
    const std::string end = *rc::gen::elementOf(std::vector<std::string>{"\n", "\r", "\r\n"});
    std::string stream;
    for (const std::string& event : events) stream += "data: " + event + end + end;
    RC_ASSERT(events_of({stream}) == events);
  }));
}

TEST(SseParser, ALineWithoutEndIsNotKeptForEver) {
  SseParser parser(1000);
  bool going = true;
  for (int i = 0; i < 20; ++i) going = parser.feed(std::string(100, 'x'), [](std::string_view) {});
  EXPECT_FALSE(going);
  EXPECT_FALSE(parser.feed("\n\ndata: a\n\n", [](std::string_view) { FAIL(); }));
}

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
}  // namespace cairn::load
