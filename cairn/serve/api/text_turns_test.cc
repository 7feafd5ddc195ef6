// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/api/text_turns.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>
#include <vector>

#include "cairn/testing/api_server.h"

namespace cairn {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const auto kStays = [] { return false; };

Deadline soon() {
  return deadline_in(seconds(20));
}

TEST(TextTurns, NoMoreThanAllowedAtATime) {
  TextTurns turns(2);
  std::atomic<int> now{0}, most{0}, done{0};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 12; ++i) {
      threads.emplace_back([&] {
        const auto turn = turns.take(kStays, soon());
        ASSERT_TRUE(turn.has_value());
        const int together = ++now;
        for (int seen = most; seen < together && !most.compare_exchange_weak(seen, together);) {
        }
        std::this_thread::sleep_for(milliseconds(2));
        --now;
        ++done;
      });
    }
  }
  EXPECT_EQ(done, 12);
  EXPECT_LE(most, 2);
}

TEST(TextTurns, WhoeverCameFirstIsNext) {
  TextTurns turns(1);
  std::optional held = turns.take(kStays, soon());
  std::vector<int> order;       // written by whoever has the turn
  std::atomic<int> waiting{0};  // the first so many
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      const auto turn = turns.take(
          [&, i] {
            waiting = std::max(waiting.load(), i + 1);
            return false;
          },
          soon());
      ASSERT_TRUE(turn.has_value());
      order.push_back(i);
    });
    ASSERT_TRUE(eventually([&] { return waiting == i + 1; }));
  }
  held.reset();
  threads.clear();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3}));
}

TEST(TextTurns, WaitingEndsWithTheClientAndWithTheTime) {
  TextTurns turns(1);
  std::optional held = turns.take(kStays, soon());
  ASSERT_TRUE(held->has_value());
  const auto gone = turns.take([] { return true; }, soon());
  ASSERT_FALSE(gone.has_value());
  EXPECT_EQ(gone.error(), NoTurn::kClientGone);
  const auto late = turns.take(kStays, deadline_in(milliseconds(30)));
  ASSERT_FALSE(late.has_value());
  EXPECT_EQ(late.error(), NoTurn::kTooLate);
  // Those that left are in nobody's way.
  held.reset();
  EXPECT_TRUE(turns.take(kStays, soon()).has_value());
  EXPECT_TRUE(turns.take([] { return true; }, Deadline{}).has_value());
}

}  // namespace
}  // namespace cairn
