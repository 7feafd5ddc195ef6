// SPDX-License-Identifier: Apache-2.0
#include "cairn/base/data_page.h"

#include <gtest/gtest.h>

namespace cairn {
namespace {

constexpr std::string_view kPage = "a @NONCE@ b @RESULTS@ c @NONCE@";

TEST(DataPage, MarksInTheDataStayText) {
  const std::string page = page_with_data(kPage, "[\"@NONCE@ @RESULTS@\"]", "test");
  const std::string nonce = page.substr(2, page.find(' ', 2) - 2);
  EXPECT_EQ(page, "a " + nonce + " b [\"@NONCE@ @RESULTS@\"] c " + nonce);
}

TEST(DataPage, TheNonceDependsOnTheDataAndTheKindOfPage) {
  EXPECT_EQ(page_with_data(kPage, "[1]", "test"), page_with_data(kPage, "[1]", "test"));
  const auto nonce = [](std::string_view json, std::string_view domain) {
    return page_with_data("@NONCE@", json, domain);
  };
  EXPECT_NE(nonce("[1]", "test"), nonce("[2]", "test"));
  EXPECT_NE(nonce("[1]", "test"), nonce("[1]", "other"));
}

TEST(DataPage, NoMarkupBeginsWithinAScript) {
  EXPECT_EQ(within_script(R"({"a":"</script><!--"})"), R"({"a":"\u003c/script>\u003c!--"})");
}

}  // namespace
}  // namespace cairn
