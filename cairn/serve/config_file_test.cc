// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/config_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cairn {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Optional;
using testing::StartsWith;

ConfigEntry only(std::string_view text) {
  const auto entries = parse_config(text, "file");
  EXPECT_TRUE(entries) << entries.error().message;
  EXPECT_EQ(entries->size(), 1u);
  return entries->front();
}

TEST(ConfigFile, ValuesAreWhatTheCommandLineWouldHave) {
  EXPECT_THAT(only("host = 'a b'").values, Optional(ElementsAre("a b")));
  EXPECT_THAT(only("port = 9_000").values, Optional(ElementsAre("9000")));
  EXPECT_THAT(only("port = 0x10").values, Optional(ElementsAre("16")));
  EXPECT_THAT(only("temp = 0.1").values, Optional(ElementsAre("0.1")));
  EXPECT_THAT(only("temp = 1e300").values, Optional(ElementsAre("1e+300")));
  EXPECT_THAT(only("log-json = true").values, Optional(ElementsAre("true")));
  EXPECT_THAT(only("log-json = false").values, Optional(ElementsAre("false")));
  EXPECT_THAT(only("allow-origin = ['https://a', 7]").values, Optional(ElementsAre("https://a", "7")));
  EXPECT_THAT(only("allow-origin = []").values, Optional(IsEmpty()));
  EXPECT_TRUE(only("log-json = true").is_flag);
  EXPECT_FALSE(only("log-json = 'true'").is_flag);
}

TEST(ConfigFile, WhatNoOptionTakesHasNoValues) {
  for (const char* text : {"a = 2026-11-30", "a = {b = 1}", "[a]\nb = 1", "a = [[1]]", "a = [{b = 1}]"}) {
    EXPECT_EQ(only(text).values, std::nullopt) << text;
  }
}

TEST(ConfigFile, EntriesKnowTheirLines) {
  const auto entries = parse_config("# what is served\nport = 1\n\nhost = 'x'\n", "file");
  ASSERT_TRUE(entries);
  ASSERT_EQ(entries->size(), 2u);
  EXPECT_EQ((*entries)[0].key, "host");
  EXPECT_EQ((*entries)[0].line, 4u);
  EXPECT_EQ((*entries)[1].line, 2u);
}

TEST(ConfigFile, WhatIsNotTomlIsRefusedWithItsLine) {
  const auto entries = parse_config("port = 1\nport 2\n", "some/file");
  ASSERT_FALSE(entries);
  EXPECT_EQ(entries.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(entries.error().message, StartsWith("some/file:2: "));
  EXPECT_EQ(read_config("/nowhere/cairn.toml").error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace cairn
