// SPDX-License-Identifier: Apache-2.0
#include "cairn/load/sse_parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <vector>

namespace cairn {
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

}  // namespace
}  // namespace cairn
