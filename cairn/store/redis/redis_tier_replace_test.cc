// SPDX-License-Identifier: Apache-2.0
// What replacing a record does to the keys on a real server.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <thread>
#include <utility>

#include "cairn/store/record/compression.h"
#include "cairn/store/redis/redis_tier.h"
#include "cairn/testing/redis_server.h"
#include "cairn/testing/stored_blocks.h"

namespace cairn::redis {
namespace {

using ::cairn::testing::RedisServer;

constexpr std::int64_t kGraceMs = 30'000;

Deadline soon() {
  return deadline_in(std::chrono::seconds(20));
}

class RedisReplaceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!RedisServer::installed()) GTEST_SKIP() << "redis-server is not installed";
    server_ = std::make_unique<RedisServer>();
  }
  std::unique_ptr<RedisTier> open(std::int64_t ttl_s, std::size_t slice_bytes = 10'000,
                                  std::size_t window_bytes = 1 << 20) {
    return *RedisTier::open({.url = server_->url(),
                             .ttl = std::chrono::seconds(ttl_s),
                             .slice_bytes = slice_bytes,
                             .window_bytes = window_bytes});
  }
  std::int64_t ttl_ms(const std::string& name) { return server_->call({"PTTL", name}).integer; }
  std::vector<std::string> slices(const Digest& key) {
    std::vector<std::string> names;
    for (const Reply& name : server_->call({"KEYS", "kv1:{" + key.hex() + "}:????????????????:*"}).items) {
      names.push_back(name.text);
    }
    return names;
  }
  BlockStatus get(Tier& tier, const StoreKey* key = nullptr) const {
    BlockStatus result = BlockStatus::kBroken;
    tier.get({&key_, 1}, soon(), [&](std::size_t, BlockStatus status, std::shared_ptr<const BlockRecord> record) {
      result = status != BlockStatus::kOk || block_.equals(*record, key) ? status : BlockStatus::kCorrupt;
    });
    return result;
  }

  const TestBlock block_{.number = 1, .part_bytes = {256, 20000, 20000}, .dull = true};
  const Digest key_ = test_key(1);
  const std::shared_ptr<const BlockRecord> plain_ = block_.record(), small_ = *compress_record(*plain_, 3);
  std::unique_ptr<RedisServer> server_;
};

TEST_F(RedisReplaceTest, TheBlockLivesAsLongAsItWouldHave) {
  for (const std::int64_t ttl_s : {5000, 0}) {
    (void)server_->call({"FLUSHALL"});
    const auto tier = open(ttl_s);
    ASSERT_EQ(tier->put({&plain_, 1}, soon())[0], BlockStatus::kOk);
    const auto before = slices(key_);
    const auto other = open(99);  // its own TTL does not matter
    ASSERT_EQ(other->replace({&small_, 1}, soon())[0], BlockStatus::kOk);
    const std::int64_t lives = ttl_ms(header_key(key_));
    EXPECT_EQ(lives < 0, ttl_s == 0);
    if (ttl_s != 0) {
      EXPECT_GT(lives, 4'900'000);
    }
    std::size_t fresh = 0;
    for (const std::string& name : slices(key_)) {
      const std::int64_t of_slice = ttl_ms(name);
      if (std::ranges::find(before, name) != before.end()) {
        EXPECT_GT(of_slice, kGraceMs / 2) << "somebody may be reading it";
        EXPECT_LE(of_slice, kGraceMs);
      } else {
        ++fresh;
        EXPECT_TRUE(ttl_s == 0 ? of_slice < 0 : of_slice >= lives) << "slices outlive the header";
      }
    }
    EXPECT_GT(fresh, 1u);
    EXPECT_LT(fresh, before.size());
    EXPECT_EQ(get(*tier), BlockStatus::kOk);
  }
}

TEST_F(RedisReplaceTest, NothingIsLeftWhereThereWasNothing) {
  const auto tier = open(100);
  EXPECT_EQ(tier->replace({&small_, 1}, soon())[0], BlockStatus::kMiss);
  EXPECT_EQ(server_->call({"DBSIZE"}).integer, 0);
}

// Old slices that go while the old record is read: the header says where the block is now, and no reader takes it
// for damaged.
TEST_F(RedisReplaceTest, AReaderThatComesTooLateLooksAgain) {
  // Many slices, asked for a few at a time: time enough for them to go.
  const auto tier = open(100, 500), reading = open(100, 500, 2000);
  const StoreKey key({1});
  auto record = block_.record(&key);  // each with a nonce of its own, so that no tag comes back
  ASSERT_EQ(tier->put({&record, 1}, soon())[0], BlockStatus::kOk);
  std::atomic<bool> stop = false;
  std::atomic<int> wrong = 0;
  std::thread reader([&] {
    while (!stop) wrong += get(*reading, &key) == BlockStatus::kCorrupt;
  });
  for (int i = 0; i < 100; ++i) {
    const auto old = std::exchange(record, block_.record(&key));
    EXPECT_EQ(tier->replace({&record, 1}, soon())[0], BlockStatus::kOk);
    std::uint64_t tag;
    std::memcpy(&tag, old->bytes().data() + kDirectIoPage - sizeof tag, sizeof tag);
    (void)server_->call({"UNLINK", slice_key(key_, tag, 0), slice_key(key_, tag, 20), slice_key(key_, tag, 30),
                         slice_key(key_, tag, 45)});
  }
  stop = true;
  reader.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(get(*tier, &key), BlockStatus::kOk);
}

}  // namespace
}  // namespace cairn::redis
