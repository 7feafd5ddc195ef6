// SPDX-License-Identifier: Apache-2.0
#include "cairn/base/utf8.h"

#include <gtest/gtest.h>

#include "cairn/testing/any_text.h"

namespace cairn {
namespace {

TEST(Utf8, EveryCodePointIsOneCharacter) {
  for (char32_t point = 0; point < 0x110000; ++point) {
    if (point >= 0xD800 && point < 0xE000) continue;
    const std::string text = utf8_encode(point);
    ASSERT_EQ(utf8_char_length(text), text.size()) << std::hex << static_cast<std::uint32_t>(point);
    for (std::size_t cut = 1; cut < text.size(); ++cut) {
      const Utf8Prefix prefix = read_utf8(std::string_view(text).substr(0, cut));
      ASSERT_FALSE(prefix.complete);
      ASSERT_EQ(prefix.length, cut);
    }
  }
}

TEST(Utf8, RefusesWhatIsNotUtf8) {
  for (const char* text : {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
                           "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "\xC3(", "\xE2\x82(", "\xF0\x9F\x98("}) {
    EXPECT_EQ(utf8_char_length(text), 0) << text;
    EXPECT_EQ(read_utf8(text).length, 0) << text;
  }
  EXPECT_EQ(utf8_char_length(""), 0);
  EXPECT_EQ(utf8_encode(0xD800), kReplacementCharacter);
  EXPECT_EQ(utf8_encode(0x110000), kReplacementCharacter);
}

TEST(Utf8Stream, HoldsBackHalfCharacters) {
  Utf8Stream stream;
  EXPECT_EQ(stream.feed("a\xF0\x9F"), "a");
  EXPECT_EQ(stream.feed("\x98"), "");
  EXPECT_EQ(stream.feed("\x80z\xC3"), "😀z");
  EXPECT_EQ(stream.feed("("), "\xC3(");  // can no longer become a character
  EXPECT_EQ(stream.feed("\xE2\x82"), "");
  EXPECT_EQ(stream.finish(), "\xE2\x82");
  EXPECT_EQ(stream.finish(), "");
}

TEST(Utf8Stream, LosesNothingWhateverTheCuts) {
  EXPECT_TRUE(rc::check([] {
    const auto parts = *rc::gen::container<std::vector<std::string>>(testing::any_text());
    Utf8Stream stream;
    std::string in, out;
    for (const std::string& part : parts) {
      in += part;
      out += stream.feed(part);
      RC_ASSERT(in.size() - out.size() <= 3);
    }
    RC_ASSERT(out + stream.finish() == in);
  }));
}

TEST(PrintableStart, IsOneSafeLine) {
  EXPECT_EQ(printable_start("short", 10), "short");
  EXPECT_EQ(printable_start("{% if\n\tx\x1b[0m", 40), "{% if  x [0m");
  EXPECT_EQ(printable_start("ééééé", 3), "ééé...");
  EXPECT_EQ(printable_start("a\xFFz", 5), "a\uFFFDz");
}

}  // namespace
}  // namespace cairn
