// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "cairn/eval/task.h"

namespace cairn {
namespace {

// Many questions on few numbers leave no room for some of their answers: then another draw is made, in bounded time.
TEST(Numbers, ManyTurnsOnShortContextsEnd) {
  const Task& task = **find_task("S8");
  for (std::uint32_t index = 0; index < 150; ++index) {
    for (std::uint32_t turns = 5; turns <= kMaxTurns; ++turns) {
      const auto session = task.make({.seed = 3,
                                      .index = index,
                                      .context_tokens = 450 + 7 * index,
                                      .turns = turns,
                                      .count_tokens = [](std::string_view text) { return text.size(); }});
      if (session) {
        EXPECT_EQ(session->turns.size(), turns);
      }
    }
  }
}

}  // namespace
}  // namespace cairn
