// SPDX-License-Identifier: Apache-2.0
// The Redis tier against servers that refuse, stop and die: no wrong bytes, no wait beyond the deadline.
#include <gtest/gtest.h>

#include "cairn/store/redis/redis_tier.h"
#include "cairn/testing/redis_records.h"
#include "cairn/testing/redis_server.h"
#include "cairn/testing/redis_tiers.h"

namespace cairn::redis {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::any_key;
using testing::any_record;
using testing::get_all;
using testing::open_error;
using testing::open_redis;
using testing::Records;
using testing::RedisServer;
using testing::soon;
using testing::timed;

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
  const auto tier = open_redis(base, {.password_file = file});
  ASSERT_NE(tier, nullptr);
  EXPECT_EQ(tier->name().find("secret"), std::string::npos);
  EXPECT_EQ(tier->put({{any_record(1, 100)}}, soon())[0], BlockStatus::kOk);
  ::setenv("CAIRN_REDIS_PASSWORD", "secret", 1);
  EXPECT_NE(open_redis(base), nullptr);
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
  const auto tier = open_redis("redis://bob:secret@" + host + "/5");
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
  const auto tier =
      open_redis(server.url(), {.connect_timeout = milliseconds(150),
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
  const auto tier = open_redis(server.url(), {.silence = milliseconds(200)});
  server.freeze();
  EXPECT_LT(timed([&] { EXPECT_EQ(get_all(*tier, {{any_key(1)}}, soon())[0].status, BlockStatus::kBroken); }), 2000);
  server.thaw();
}

TEST_F(RedisFaults, KilledAndRestartedDuringTraffic) {
  RedisServer server;
  const auto tier =
      open_redis(server.url(), {.breaker = {.failures = 5, .window = seconds(5), .rest = milliseconds(100)}});
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
  const auto tier = open_redis(server.url());
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
  const auto tier = open_redis(server.url(), {.slice_bytes = 100'000, .window_bytes = std::size_t{1} << 20});
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
  const auto tier = open_redis(server.url(), {.slice_bytes = 100'000, .window_bytes = std::size_t{2} << 20});
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

}  // namespace
}  // namespace cairn::redis
