// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <string_view>

#include "cairn/eval/score.h"
#include "cairn/eval/session_test-inl.h"
#include "cairn/eval/text_similarity.h"

namespace cairn {
namespace {

using namespace cairn::testing;

TEST(ChineseQa, NoValueIsHalfRightForAnother) {
  std::set<std::string> values;
  const std::string context = make_or_die(**find_task("S6"), spec_of(1, 0, 8192)).context;
  for (std::size_t at = 0, end = 0; (end = context.find("。", at)) != context.npos; at = end + 3) {
    const std::string_view sentence = std::string_view(context).substr(at, end - at);
    for (const std::string_view middle : {"住在", "的工作是", "的朋友是"}) {
      const std::size_t found = sentence.find(middle);
      if (found != sentence.npos) values.emplace(sentence.substr(found + middle.size()));
    }
  }
  EXPECT_GT(values.size(), 60u);
  for (const std::string& a : values) {
    for (const std::string& b : values) {
      EXPECT_EQ(is_correct(Metric::kCharF1, char_f1(a, b)), a == b) << a << " " << b;
    }
  }
}

}  // namespace
}  // namespace cairn
