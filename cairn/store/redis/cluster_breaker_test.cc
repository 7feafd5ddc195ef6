// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <thread>

#include "cairn/store/redis/cluster.h"
#include "cairn/store/redis/link.h"

namespace cairn::redis {
namespace {

using std::chrono::milliseconds;

class BreakerTest : public ::testing::Test {
 protected:
  Breaker breaker_{{.failures = 3, .window = milliseconds(100), .rest = milliseconds(1000)}};
  const Deadline start_ = std::chrono::steady_clock::now();
  Deadline at(int ms) const { return start_ + milliseconds(ms); }
  void open() {
    for (int i = 0; i < 3; ++i) breaker_.failure(at(i));
  }
};

TEST_F(BreakerTest, OpensAfterFailuresInTheWindowOnly) {
  breaker_.failure(at(0));
  breaker_.failure(at(60));
  breaker_.failure(at(120));  // the first is too old by now
  EXPECT_TRUE(breaker_.admit(at(120)));
  breaker_.failure(at(130));
  EXPECT_FALSE(breaker_.admit(at(131)));
  EXPECT_EQ(breaker_.resting(at(130)), milliseconds(1000));
}

TEST_F(BreakerTest, SuccessForgets) {
  breaker_.failure(at(0));
  breaker_.failure(at(1));
  breaker_.success();
  breaker_.failure(at(2));
  EXPECT_TRUE(breaker_.admit(at(3)));
}

TEST_F(BreakerTest, OneProbeDecides) {
  open();
  EXPECT_FALSE(breaker_.admit(at(900)));
  EXPECT_TRUE(breaker_.admit(at(1003)));
  EXPECT_FALSE(breaker_.admit(at(1004)));  // one is enough
  breaker_.failure(at(1005));
  EXPECT_FALSE(breaker_.admit(at(1900)));
  EXPECT_TRUE(breaker_.admit(at(2006)));
  breaker_.neither();
  EXPECT_TRUE(breaker_.admit(at(2007)));
  breaker_.success();
  EXPECT_TRUE(breaker_.admit(at(2008)));
  EXPECT_TRUE(breaker_.admit(at(2008)));
  EXPECT_EQ(breaker_.resting(at(2008)), milliseconds(0));
}

TEST_F(BreakerTest, LateFailuresDoNotProlongTheRest) {
  open();
  breaker_.failure(at(900));
  EXPECT_TRUE(breaker_.admit(at(1003)));
}

TEST(CreditWindow, CapsAndWaits) {
  CreditWindow window(100);
  EXPECT_EQ(window.cost(250), 100u);
  EXPECT_TRUE(window.try_take(60));
  EXPECT_FALSE(window.try_take(41));
  EXPECT_FALSE(window.take(41, deadline_in(milliseconds(20))));
  std::jthread giver([&] { window.give(60); });
  EXPECT_TRUE(window.take(100, deadline_in(std::chrono::seconds(10))));
  EXPECT_EQ(window.in_flight(), 100u);
}

}  // namespace
}  // namespace cairn::redis
