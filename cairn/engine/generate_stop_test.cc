// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "cairn/engine/generate.h"

namespace cairn {
namespace {

// However the text is cut, what comes out is the text up to the first stop string; nothing comes out that belongs to
// one.
RC_GTEST_PROP(StopMatcher, CutsDoNotMatter, ()) {
  const auto letter = rc::gen::element('a', 'b', 'c');
  const auto text = *rc::gen::container<std::string>(letter);
  auto stops =
      *rc::gen::container<std::vector<std::string>>(rc::gen::nonEmpty(rc::gen::container<std::string>(letter)));
  StopMatcher matcher(stops);
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const auto length = *rc::gen::inRange<std::size_t>(1, 4);
    out += matcher.feed(std::string_view(text).substr(at, length));
    at += std::min(length, text.size() - at);
    RC_ASSERT(text.starts_with(out));
  }
  std::size_t end = std::string::npos;
  // The first that is complete ends the text; of two that are complete with the same letter, the one that begins first.
  for (std::size_t length = 1; length <= text.size() && end == std::string::npos; ++length) {
    for (const std::string& stop : stops) end = std::min(end, text.substr(0, length).find(stop));
  }
  RC_ASSERT(matcher.stopped() == (end != std::string::npos));
  out += matcher.finish();
  RC_ASSERT(out == text.substr(0, end));
}

TEST(StopMatcher, TheStopThatIsCompleteFirstCounts) {
  EXPECT_EQ(StopMatcher({"cba", "b"}).feed("cba"), "c");
  EXPECT_EQ(StopMatcher({"b", "ab"}).feed("xab"), "x");
}

TEST(StopMatcher, HoldsBackOnlyWhatMayBeginOne) {
  StopMatcher matcher({"###", "END"});
  EXPECT_EQ(matcher.feed("one #"), "one ");
  EXPECT_EQ(matcher.feed(" two E"), "# two ");
  EXPECT_EQ(matcher.feed("ND more"), "");
  EXPECT_TRUE(matcher.stopped());
  EXPECT_EQ(matcher.finish(), "");
}

}  // namespace
}  // namespace cairn
