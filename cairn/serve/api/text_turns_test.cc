// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "cairn/serve/api/endpoints.h"
#include "cairn/testing/api_server.h"

namespace cairn::api {
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
        const auto turn = turns.take("a", kStays, soon());
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

// Those that come while the only turn is taken, one after another, and the order in which they get it.
std::vector<std::string> order_of(const std::vector<std::string>& tenants) {
  TextTurns turns(1);
  std::optional held = turns.take("a", kStays, soon());
  std::vector<std::string> order;       // written by whoever has the turn
  std::atomic<std::size_t> waiting{0};  // the first so many
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < tenants.size(); ++i) {
    threads.emplace_back([&, i] {
      const auto turn = turns.take(
          tenants[i],
          [&, i] {
            waiting = std::max(waiting.load(), i + 1);
            return false;
          },
          soon());
      ASSERT_TRUE(turn.has_value());
      order.push_back(tenants[i] + std::to_string(i));
    });
    EXPECT_TRUE(eventually([&] { return waiting == i + 1; }));
  }
  held.reset();
  threads.clear();
  return order;
}

TEST(TextTurns, WhoeverCameFirstIsNext) {
  EXPECT_EQ(order_of({"a", "a", "a", "a"}), (std::vector<std::string>{"a0", "a1", "a2", "a3"}));
}

TEST(TextTurns, TenantsTakeTurnsHoweverManyOfOneWait) {
  EXPECT_EQ(order_of({"a", "a", "a", "a", "b", "b"}), (std::vector<std::string>{"a0", "b4", "a1", "b5", "a2", "a3"}));
  EXPECT_EQ(order_of({"b", "a", "a", "c", "b"}), (std::vector<std::string>{"b0", "a1", "c3", "b4", "a2"}));
}

TEST(TextTurns, WaitingEndsWithTheClientAndWithTheTime) {
  TextTurns turns(1);
  std::optional held = turns.take("a", kStays, soon());
  ASSERT_TRUE(held->has_value());
  const auto gone = turns.take(
      "a", [] { return true; }, soon());
  ASSERT_FALSE(gone.has_value());
  EXPECT_EQ(gone.error(), NoTurn::kClientGone);
  const auto late = turns.take("a", kStays, deadline_in(milliseconds(30)));
  ASSERT_FALSE(late.has_value());
  EXPECT_EQ(late.error(), NoTurn::kTooLate);
  EXPECT_EQ(turns.take("b", kStays, deadline_in(milliseconds(30))).error(), NoTurn::kTooLate);
  // Those that left are in nobody's way.
  held.reset();
  EXPECT_TRUE(turns.take("a", kStays, soon()).has_value());
  EXPECT_TRUE(turns
                  .take(
                      "a", [] { return true; }, Deadline{})
                  .has_value());
}

}  // namespace
}  // namespace cairn::api
