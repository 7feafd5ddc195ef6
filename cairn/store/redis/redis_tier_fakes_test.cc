// SPDX-License-Identifier: Apache-2.0
// The Redis tier against false servers, which lie, drip and answer half: no wrong bytes, no wait beyond the deadline.
#include <gtest/gtest.h>

#include "cairn/store/redis/redis_tier.h"
#include "cairn/testing/redis_records.h"
#include "cairn/testing/redis_server.h"
#include "cairn/testing/redis_tiers.h"

namespace cairn::redis {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::always_answer;
using testing::any_key;
using testing::any_record;
using testing::FakeRedis;
using testing::get_all;
using testing::open_error;
using testing::open_redis;
using testing::Records;
using testing::soon;
using testing::timed;

// What a server may answer to the first command of an open tier.
TEST(RedisFakes, NonsenseIsAMissOrBroken) {
  const std::string good = ":0\r\n";
  const std::vector<std::string> answers = {"HTTP/1.1 400 Bad Request\r\n\r\n",
                                            "\r\n",
                                            "$\r\n",
                                            "$-2\r\n",
                                            "$99999999999\r\n",
                                            "$999999999999999999999\r\n",
                                            "*2000000000\r\n",
                                            "*-7\r\n",
                                            "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
                                            ":x\r\n",
                                            ":\r\n",
                                            "+OK\r\n",
                                            "-ERR no\r\n",
                                            "-\r\n",
                                            ":7\r\n",
                                            "*0\r\n",
                                            "*-1\r\n",
                                            "$-1\r\n",
                                            "$3\r\nabcXX",
                                            "$0\r\n\r\n",
                                            "$8388608\r\n",
                                            "%1\r\n+a\r\n+b\r\n",
                                            "-MOVED 1 127.0.0.1:1\r\n",
                                            "-ASK 1 :\r\n",
                                            "-LOADING x\r\n",
                                            "-NOAUTH x\r\n",
                                            std::string(40'000, 'z'),
                                            "+" + std::string(40'000, 'z'),
                                            std::string("\0\0\0\0\r\n", 6),
                                            "$5\r\nhello\r\n$5\r\nhello\r\n$5\r\nhello\r\n"};
  const auto record = any_record(1, 100'000);
  const std::vector<Digest> keys{record->meta().key, any_key(2)};
  for (const std::string& answer : answers) {
    FakeRedis fake(always_answer(good, answer));
    const auto tier = open_redis(fake.url());
    ASSERT_NE(tier, nullptr);
    EXPECT_LT(timed([&] {
                const Deadline deadline = deadline_in(milliseconds(60));
                for (const auto& got : get_all(*tier, keys, deadline)) {
                  EXPECT_EQ(got.times, 1) << answer.substr(0, 40);
                  EXPECT_EQ(got.record, nullptr);
                }
                (void)tier->contains(keys, deadline_in(milliseconds(20)));
                (void)tier->put({{record}}, deadline_in(milliseconds(20)));
                (void)tier->erase(keys, deadline_in(milliseconds(20)));
                (void)tier->list([](auto&&) { return true; }, deadline_in(milliseconds(20)));
              }),
              2000)
        << answer.substr(0, 40);
  }
}

TEST(RedisFakes, NonsenseAtOpen) {
  for (const std::string answer : {"HTTP/1.1 400 Bad Request\r\n\r\n", "+", "", "$5\r\nab", "-NOAUTH x\r\n",
                                   "-ERR unknown command with secret\r\n", "-MOVED 1 1.2.3.4:5\r\n"}) {
    FakeRedis fake(always_answer("", answer));
    EXPECT_LT(timed([&] { (void)open_error(fake.url()); }), 2000);
  }
  FakeRedis closing([](int) {});
  EXPECT_EQ(open_error(closing.url()).code, ErrorCode::kIo);
}

TEST(RedisFakes, DripDoesNotOutlastTheDeadline) {
  for (const std::string begin : {"$5000\r\n", "+"}) {
    FakeRedis fake([&](int fd) {
      char buffer[65536];
      (void)!::recv(fd, buffer, sizeof buffer, 0);
      (void)!::send(fd, ":0\r\n", 4, MSG_NOSIGNAL);
      (void)!::recv(fd, buffer, sizeof buffer, 0);
      (void)!::send(fd, begin.data(), begin.size(), MSG_NOSIGNAL);
      while (::send(fd, "x", 1, MSG_NOSIGNAL) == 1) ::usleep(5'000);
    });
    const auto tier = open_redis(fake.url());
    EXPECT_LT(timed([&] {
                const auto got = get_all(*tier, {{any_key(1)}}, deadline_in(milliseconds(200)));
                EXPECT_EQ(got[0].status, BlockStatus::kTimeout);
              }),
              1000);
  }
}

TEST(RedisFakes, HeaderWaitsForAllSlices) {
  // Of three slices the last is not acknowledged.
  std::mutex mutex;
  std::string received;
  FakeRedis fake([&](int fd) {
    std::vector<char> buffer(1 << 16);
    std::size_t answered = 0;
    for (ssize_t got; (got = ::recv(fd, buffer.data(), buffer.size(), 0)) > 0;) {
      const std::lock_guard lock(mutex);
      received.append(buffer.data(), static_cast<std::size_t>(got));
      std::size_t asked = 0, sets = 0;
      for (std::size_t at = 0; (at = received.find("EXISTS", at)) != std::string::npos; ++at) ++asked;
      for (std::size_t at = 0; (at = received.find("SET\r\n", at)) != std::string::npos; ++at) ++sets;
      for (; answered < asked; ++answered) (void)!::send(fd, ":0\r\n", 4, MSG_NOSIGNAL);
      for (; answered < asked + std::min<std::size_t>(sets, 2); ++answered) {
        (void)!::send(fd, "+OK\r\n", 5, MSG_NOSIGNAL);
      }
    }
  });
  const auto tier = open_redis(fake.url(), {.slice_bytes = 100'000});
  const auto record = any_record(1, 290'000);
  EXPECT_EQ(tier->put({{record}}, deadline_in(milliseconds(300)))[0], BlockStatus::kTimeout);
  const std::lock_guard lock(mutex);
  EXPECT_GT(received.size(), record->size() - 4096);
  EXPECT_EQ(received.find("\r\nNX\r\n"), std::string::npos);
}

TEST(RedisFakes, BreakerStopsTryingAndProbesOnce) {
  std::atomic<bool> well = true;
  FakeRedis fake([&](int fd) {
    char buffer[65536];
    while (::recv(fd, buffer, sizeof buffer, 0) > 0) {
      const std::string answer = well ? ":0\r\n" : "garbage\r\n";
      if (::send(fd, answer.data(), answer.size(), MSG_NOSIGNAL) < 0) return;
    }
  });
  const auto tier =
      open_redis(fake.url(), {.breaker = {.failures = 3, .window = seconds(10), .rest = milliseconds(1000)}});
  well = false;
  const auto ask = [&] { return tier->contains({{any_key(1)}}, soon())[0]; };
  for (int i = 0; i < 10; ++i) EXPECT_EQ(ask(), BlockStatus::kBroken);
  EXPECT_EQ(fake.connections, 3);
  std::this_thread::sleep_for(milliseconds(1050));
  for (int i = 0; i < 10; ++i) EXPECT_EQ(ask(), BlockStatus::kBroken);
  EXPECT_EQ(fake.connections, 4);
  well = true;
  std::this_thread::sleep_for(milliseconds(1050));
  EXPECT_EQ(ask(), BlockStatus::kMiss);
  EXPECT_EQ(fake.connections, 5);
}

TEST(RedisFakes, LoadingServerIsAskedAgain) {
  std::atomic<int> answers = 0;
  FakeRedis fake([&](int fd) {
    char buffer[65536];
    while (::recv(fd, buffer, sizeof buffer, 0) > 0) {
      const std::string answer = answers == 1 || answers == 2 ? "-LOADING wait\r\n" : ":1\r\n";
      ++answers;
      if (::send(fd, answer.data(), answer.size(), MSG_NOSIGNAL) < 0) return;
    }
  });
  const auto tier = open_redis(fake.url());
  EXPECT_EQ(tier->contains({{any_key(1)}}, soon())[0], BlockStatus::kOk);
  EXPECT_EQ(answers, 4);
}

TEST(RedisFakes, InFlightIsCapped) {
  // A server that reads and never answers: what it has received when the deadline comes is about the window.
  std::atomic<std::size_t> received = 0;
  FakeRedis fake([&](int fd) {
    std::vector<char> buffer(1 << 16);
    bool first = true;
    for (ssize_t got; (got = ::recv(fd, buffer.data(), buffer.size(), 0)) > 0; first = false) {
      if (first) (void)!::send(fd, ":0\r\n", 4, MSG_NOSIGNAL);
      if (got < 300 && !first) (void)!::send(fd, ":0\r\n:0\r\n", 8, MSG_NOSIGNAL);
      received += static_cast<std::size_t>(got);
    }
  });
  const auto tier = open_redis(fake.url(), {.slice_bytes = 100'000, .window_bytes = 1'000'000});
  const Records records{any_record(1, 3'000'000), any_record(2, 3'000'000)};
  for (const BlockStatus status : tier->put(records, deadline_in(milliseconds(300)))) {
    EXPECT_EQ(status, BlockStatus::kTimeout);
  }
  EXPECT_LT(received, 1'010'000u);
  EXPECT_GT(received, 900'000u);
}

}  // namespace
}  // namespace cairn::redis
