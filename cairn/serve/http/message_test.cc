// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/http/message.h"

#include <gtest/gtest.h>

#include <string>

namespace cairn::http {
namespace {

struct Case {
  std::string bytes;
  std::string_view why;  // empty: a complete body
};

const std::string kRest = "\r\nhello\r\n0\r\n\r\n";
constexpr std::string_view kSize = "a chunk's size is not valid";
constexpr std::string_view kEnd = "a chunk does not end where its size says";

const Case kCases[] = {
    {"0\r\n\r\n", ""},
    {"5" + kRest, ""},
    {"00000005" + kRest, ""},
    {"5;name=value" + kRest, ""},
    {"5;name=\"a\tb\"" + kRest, ""},
    {"1A\r\n" + std::string(26, '\n') + "\r\nb\r\n12345678901\r\n000;last\r\n\r\n", ""},
    {"0x5" + kRest, kSize},
    {"+5" + kRest, kSize},
    {"-5" + kRest, kSize},
    {" 5" + kRest, kSize},
    {"5 " + kRest, kSize},
    {"5\t" + kRest, kSize},
    {"5 ;a" + kRest, kSize},
    {";a" + kRest, kSize},
    {kRest, kSize},
    {"g" + kRest, kSize},
    {"000000005" + kRest, kSize},
    {"ffffffffffffffffffff" + kRest, kSize},
    {"5\nhello\r\n0\r\n\r\n", kSize},
    {"5\rhello", kSize},
    {"5;a\nb" + kRest, kSize},
    {std::string("5;a\0b", 5) + kRest, kSize},
    {"4" + kRest, kEnd},
    {"5\r\nhello\n0\r\n\r\n", kEnd},
    {"5\r\nhello\r0\r\n\r\n", kEnd},
    {"0\r\n\rx", kEnd},
    {"0\r\nX: y\r\n\r\n", "trailers are not taken"},
    {"5" + kRest + "G", kEnd},
};

TEST(ChunkRules, CutsDoNotMatter) {
  for (const Case& one : kCases) {
    for (std::size_t first = 0; first <= one.bytes.size(); ++first) {
      for (std::size_t second = first; second <= one.bytes.size(); ++second) {
        const std::string_view bytes = one.bytes;
        ChunkRules rules;
        rules.take(bytes.substr(0, first));
        rules.take(bytes.substr(first, second - first));
        EXPECT_EQ(rules.take(bytes.substr(second)), one.why.empty()) << one.bytes;
        EXPECT_EQ(rules.why(), one.why) << one.bytes;
        EXPECT_EQ(rules.complete(), one.why.empty()) << one.bytes;
      }
    }
  }
}

TEST(ChunkRules, ABodyIsCompleteWithItsLastByte) {
  const std::string body = "5;x" + kRest;
  ChunkRules rules;
  for (std::size_t i = 0; i < body.size(); ++i) {
    EXPECT_FALSE(rules.complete()) << i;
    ASSERT_TRUE(rules.take(std::string_view(body).substr(i, 1))) << i;
  }
  EXPECT_TRUE(rules.complete());
}

TEST(ChunkRules, NothingThatFollowsMendsABrokenBody) {
  ChunkRules rules;
  EXPECT_FALSE(rules.take("+"));
  EXPECT_FALSE(rules.take("5" + kRest));
  EXPECT_FALSE(rules.take(""));
  EXPECT_EQ(rules.why(), kSize);
}

}  // namespace
}  // namespace cairn::http
