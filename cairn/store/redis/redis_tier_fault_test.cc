// SPDX-License-Identifier: Apache-2.0
// The Redis tier against servers that refuse, lie, stop and die: no wrong bytes, no wait beyond the deadline.
#include <gtest/gtest.h>

#include "cairn/store/redis/redis_tier.h"
#include "cairn/testing/redis_records.h"
#include "cairn/testing/redis_server.h"

namespace cairn::redis {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::always_answer;
using testing::any_key;
using testing::any_record;
using testing::FakeRedis;
using testing::get_all;
using testing::RedisServer;
using Records = std::vector<std::shared_ptr<const BlockRecord>>;

Deadline soon() {
  return deadline_in(seconds(10));
}

std::unique_ptr<RedisTier> open(const std::string& url, RedisTierOptions options = {}) {
  options.url = url;
  auto tier = RedisTier::open(std::move(options));
  EXPECT_TRUE(tier) << tier.error().message;
  return tier ? *std::move(tier) : nullptr;
}

Error open_error(const std::string& url, RedisTierOptions options = {}) {
  options.url = url;
  options.connect_timeout = milliseconds(300);
  const auto tier = RedisTier::open(std::move(options));
  EXPECT_FALSE(tier);
  if (tier) return {};
  EXPECT_EQ(tier.error().message.find('\n'), std::string::npos);
  EXPECT_EQ(tier.error().message.find("secret"), std::string::npos) << tier.error().message;
  return tier.error();
}

// How long it takes, in milliseconds.
template <class F>
std::int64_t timed(F&& f) {
  const auto begun = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - begun).count();
}

class RedisFaults : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!RedisServer::installed()) GTEST_SKIP() << "redis-server is not installed";
  }
};

TEST_F(RedisFaults, UnreachableAtOpen) {
  const Error refused = open_error("redis://127.0.0.1:" + std::to_string(testing::free_port()));
  EXPECT_EQ(refused.code, ErrorCode::kIo);
  EXPECT_NE(refused.message.find("127.0.0.1"), std::string::npos);
  EXPECT_NE(refused.message.find("refused"), std::string::npos) << refused.message;
  EXPECT_EQ(open_error("unix:///nowhere/redis.sock").code, ErrorCode::kIo);
  EXPECT_EQ(open_error("ftp://:secret@host").code, ErrorCode::kInvalidArgument);
}

TEST_F(RedisFaults, Passwords) {
  RedisServer server({"--requirepass", "secret"});
  const std::string base = "unix://" + server.socket();
  const Error none = open_error(base);
  EXPECT_EQ(none.code, ErrorCode::kInvalidArgument);
  EXPECT_NE(none.message.find("password"), std::string::npos) << none.message;
  const std::string file = server.folder() + "/password";
  std::FILE* const out = std::fopen(file.c_str(), "w");
  std::fputs("secret\n", out);
  std::fclose(out);
  const auto tier = open(base, {.password_file = file});
  ASSERT_NE(tier, nullptr);
  EXPECT_EQ(tier->name().find("secret"), std::string::npos);
  EXPECT_EQ(tier->put({{any_record(1, 100)}}, soon())[0], BlockStatus::kOk);
  ::setenv("CAIRN_REDIS_PASSWORD", "secret", 1);
  EXPECT_NE(open(base), nullptr);
  ::setenv("CAIRN_REDIS_PASSWORD", "secret but wrong", 1);
  const Error wrong = open_error(base);
  ::unsetenv("CAIRN_REDIS_PASSWORD");
  EXPECT_EQ(wrong.code, ErrorCode::kInvalidArgument);
  EXPECT_NE(wrong.message.find("WRONGPASS"), std::string::npos) << wrong.message;
}

TEST_F(RedisFaults, AclUserAndDatabase) {
  RedisServer server({"--user", "bob", "on", ">secret", "~kv1:*", "+@all", "--user", "default", "off"},
                     testing::free_port());
  const std::string host = "127.0.0.1:" + std::to_string(server.port());
  EXPECT_EQ(open_error("redis://" + host).code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(open_error("redis://bob:no-secret@" + host).code, ErrorCode::kInvalidArgument);
  const auto tier = open("redis://bob:secret@" + host + "/5");
  ASSERT_NE(tier, nullptr);
  EXPECT_EQ(tier->name(), "redis://" + host);
  const auto record = any_record(1, 3'000'000);
  EXPECT_EQ(tier->put({{record}}, soon())[0], BlockStatus::kOk);
  const auto got = get_all(*tier, {{record->meta().key}}, soon())[0];
  ASSERT_EQ(got.status, BlockStatus::kOk);
  EXPECT_TRUE(testing::same_block(*record, *got.record));
  EXPECT_EQ(open_error("redis://bob:secret@" + host + "/77").code, ErrorCode::kInvalidArgument);
}

TEST_F(RedisFaults, FrozenServerKeepsNobodyBeyondTheDeadline) {
  RedisServer server;
  const auto tier = open(server.url(), {.connect_timeout = milliseconds(150),
                                        .breaker = {.failures = 3, .window = seconds(10), .rest = milliseconds(900)}});
  const auto record = any_record(1, 200'000), large = any_record(2, 8'000'000);
  const Digest key = record->meta().key;
  ASSERT_EQ(tier->put({{record}}, soon())[0], BlockStatus::kOk);
  server.freeze();
  EXPECT_LT(timed([&] {
              const auto got = get_all(*tier, {{key, any_key(5)}}, deadline_in(milliseconds(150)));
              EXPECT_EQ(got[0].status, BlockStatus::kTimeout);
              EXPECT_EQ(got[1].status, BlockStatus::kTimeout);
            }),
            1000);
  EXPECT_LT(timed([&] { EXPECT_EQ(tier->put({{large}}, deadline_in(milliseconds(150)))[0], BlockStatus::kTimeout); }),
            1000);
  EXPECT_LT(timed([&] { (void)tier->contains({{key}}, deadline_in(milliseconds(150))); }), 1000);
  EXPECT_LT(timed([&] { EXPECT_FALSE(tier->list([](auto&&) { return true; }, deadline_in(milliseconds(150)))); }),
            1000);
  // By now it rests: answers come at once.
  EXPECT_NE(tier->stats().note.find("resting 1 s after failures"), std::string::npos) << tier->stats().note;
  EXPECT_LT(timed([&] { EXPECT_EQ(get_all(*tier, {{key}}, soon())[0].status, BlockStatus::kBroken); }), 500);
  server.thaw();
  std::this_thread::sleep_for(milliseconds(950));
  EXPECT_EQ(get_all(*tier, {{key}}, soon())[0].status, BlockStatus::kOk);  // the probe
  EXPECT_EQ(tier->stats().note, "one server, 2 connections");
}

TEST_F(RedisFaults, SilentServerIsBrokenBeforeALongDeadline) {
  RedisServer server;
  const auto tier = open(server.url(), {.silence = milliseconds(200)});
  server.freeze();
  EXPECT_LT(timed([&] { EXPECT_EQ(get_all(*tier, {{any_key(1)}}, soon())[0].status, BlockStatus::kBroken); }), 2000);
  server.thaw();
}

TEST_F(RedisFaults, KilledAndRestartedDuringTraffic) {
  RedisServer server;
  const auto tier = open(server.url(), {.breaker = {.failures = 5, .window = seconds(5), .rest = milliseconds(100)}});
  std::atomic<bool> stop = false;
  std::atomic<int> wrong = 0, hits = 0;
  std::vector<std::jthread> threads;
  for (std::uint32_t t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint32_t i = 0; !stop; ++i) {
        const auto record = any_record(t * 10 + i % 5, 1'500'000);
        (void)tier->put({{record}}, deadline_in(milliseconds(500)));
        const auto got = get_all(*tier, {{record->meta().key}}, deadline_in(milliseconds(500)))[0];
        wrong += !testing::right_or_nothing(got, *record);
        hits += got.status == BlockStatus::kOk;
      }
    });
  }
  std::this_thread::sleep_for(milliseconds(200));
  for (int i = 0; i < 2; ++i) {
    server.stop();
    std::this_thread::sleep_for(milliseconds(150));
    server.start();
    const int before = hits;
    const Deadline patience = soon();
    while (hits == before && !passed(patience)) std::this_thread::sleep_for(milliseconds(10));
    EXPECT_GT(hits, before) << "it did not connect again";
  }
  stop = true;
  threads.clear();
  EXPECT_EQ(wrong, 0);
}

TEST_F(RedisFaults, RestartBetweenOperationsIsNotNoticed) {
  RedisServer server;
  const auto tier = open(server.url());
  const auto record = any_record(1, 1000);
  ASSERT_EQ(tier->put({{record}}, soon())[0], BlockStatus::kOk);
  server.stop();
  server.start();
  EXPECT_EQ(tier->put({{record}}, soon())[0], BlockStatus::kOk);
  EXPECT_EQ(get_all(*tier, {{record->meta().key}}, soon())[0].status, BlockStatus::kOk);
  EXPECT_EQ(tier->stats().failures, 0u);
}

TEST_F(RedisFaults, FullServerRefusesAndKeepsNoRemains) {
  RedisServer server({"--maxmemory", "12mb", "--maxmemory-policy", "noeviction"});
  const auto tier = open(server.url(), {.slice_bytes = 100'000, .window_bytes = std::size_t{1} << 20});
  int full = 0;
  Records written;
  for (std::uint32_t i = 0; i < 8; ++i) {
    const auto record = any_record(i, 2'500'000);
    const BlockStatus status = tier->put({{record}}, soon())[0];
    full += status == BlockStatus::kFull;
    if (status == BlockStatus::kOk) written.push_back(record);
  }
  EXPECT_GT(full, 0);
  EXPECT_GT(written.size(), 0u);
  EXPECT_EQ(tier->stats().refused, static_cast<std::uint64_t>(full));
  std::set<std::string> blocks;  // whatever the server holds belongs to a block that is there
  for (const std::string& name : server.keys("*")) blocks.insert(name.substr(0, name.find('}')));
  EXPECT_EQ(blocks.size(), written.size());
  for (const auto& record : written) {
    const auto got = get_all(*tier, {{record->meta().key}}, soon())[0];
    ASSERT_EQ(got.status, BlockStatus::kOk);
    EXPECT_TRUE(testing::same_block(*record, *got.record));
  }
}

TEST_F(RedisFaults, EvictionGivesHitsAndMissesOnly) {
  RedisServer server({"--maxmemory", "20mb", "--maxmemory-policy", "allkeys-lru"});
  const auto tier = open(server.url(), {.slice_bytes = 100'000, .window_bytes = std::size_t{2} << 20});
  Records records;
  std::vector<Digest> keys;
  for (std::uint32_t i = 0; i < 40; ++i) {
    records.push_back(any_record(i, 1'000'000));
    keys.push_back(records.back()->meta().key);
  }
  int hits = 0, misses = 0;
  for (int round = 0; round < 2; ++round) {
    (void)tier->put(records, soon());
    const auto got = get_all(*tier, keys, soon());
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_TRUE(testing::right_or_nothing(got[i], *records[i])) << i;
      hits += got[i].status == BlockStatus::kOk;
      misses += got[i].status == BlockStatus::kMiss;
    }
  }
  EXPECT_GT(hits, 0);
  EXPECT_GT(misses, 0);
  EXPECT_EQ(hits + misses, 80) << "failures: " << tier->stats().failures << ", corrupt: " << tier->stats().corrupt
                               << ", timeouts: " << tier->stats().timeouts;
}

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
    const auto tier = open(fake.url());
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
    const auto tier = open(fake.url());
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
  const auto tier = open(fake.url(), {.slice_bytes = 100'000});
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
  const auto tier = open(fake.url(), {.breaker = {.failures = 3, .window = seconds(10), .rest = milliseconds(1000)}});
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
  const auto tier = open(fake.url());
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
  const auto tier = open(fake.url(), {.slice_bytes = 100'000, .window_bytes = 1'000'000});
  const Records records{any_record(1, 3'000'000), any_record(2, 3'000'000)};
  for (const BlockStatus status : tier->put(records, deadline_in(milliseconds(300)))) {
    EXPECT_EQ(status, BlockStatus::kTimeout);
  }
  EXPECT_LT(received, 1'010'000u);
  EXPECT_GT(received, 900'000u);
}

}  // namespace
}  // namespace cairn::redis
