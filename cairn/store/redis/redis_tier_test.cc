// SPDX-License-Identifier: Apache-2.0
// The Redis tier against a server that is well: what is written, what is read, what the server holds.
#include "cairn/store/redis/redis_tier.h"

#include <gtest/gtest.h>

#include "cairn/base/file.h"
#include "cairn/store/residency.h"
#include "cairn/testing/redis_records.h"
#include "cairn/testing/redis_server.h"

namespace cairn::redis {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::any_key;
using testing::any_record;
using testing::get_all;
using testing::Records;
using testing::RedisServer;
using testing::soon;

class RedisTierTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (RedisServer::installed()) server_ = new RedisServer();
  }
  static void TearDownTestSuite() {
    delete server_;
    server_ = nullptr;
  }
  void SetUp() override {
    if (server_ == nullptr) GTEST_SKIP() << "redis-server is not installed";
    server_->call({"FLUSHALL"});
    tier_ = open();
  }
  std::unique_ptr<RedisTier> open(RedisTierOptions options = {}) {
    options.url = server_->url();
    if (options.slice_bytes == kMaxSliceBytes) options.slice_bytes = 10'000;
    auto tier = RedisTier::open(std::move(options));
    EXPECT_TRUE(tier) << tier.error().message;
    return tier ? *std::move(tier) : nullptr;
  }
  BlockStatus put(const std::shared_ptr<const BlockRecord>& record) { return tier_->put({{record}}, soon())[0]; }
  testing::Got get(const Digest& key) { return get_all(*tier_, {{key}}, soon())[0]; }
  static std::vector<std::string> slices(const Digest& key) {
    auto names = server_->keys("kv1:{" + key.hex() + "}:*:*");
    std::ranges::sort(names);
    return names;
  }

  static inline RedisServer* server_ = nullptr;
  std::unique_ptr<RedisTier> tier_;
};

TEST_F(RedisTierTest, RoundTripOfAllSizes) {
  Records records;
  std::vector<Digest> keys;
  for (const std::size_t bytes : {0u, 1u, 63u, 4096u, 5809u, 9'999u, 10'000u, 10'001u, 123'457u, 3'000'001u}) {
    records.push_back(any_record(static_cast<std::uint32_t>(bytes), bytes));
    keys.push_back(records.back()->meta().key);
  }
  for (const BlockStatus status : tier_->put(records, soon())) EXPECT_EQ(status, BlockStatus::kOk);
  keys.push_back(any_key(99'999));
  const auto got = get_all(*tier_, keys, soon());
  for (std::size_t i = 0; i < records.size(); ++i) {
    ASSERT_EQ(got[i].status, BlockStatus::kOk) << i;
    EXPECT_EQ(got[i].times, 1);
    EXPECT_TRUE(testing::same_block(*records[i], *got[i].record)) << i;
  }
  EXPECT_EQ(got.back().status, BlockStatus::kMiss);
  const auto there = tier_->contains(keys, soon());
  EXPECT_EQ(std::ranges::count(there, BlockStatus::kOk), static_cast<std::ptrdiff_t>(records.size()));
  EXPECT_EQ(there.back(), BlockStatus::kMiss);
  const TierStats stats = tier_->stats();
  EXPECT_EQ(stats.puts, records.size());
  EXPECT_EQ(stats.hits, records.size());
  EXPECT_EQ(stats.misses, 1u);
  EXPECT_EQ(stats.bytes_read, stats.bytes_written);
  EXPECT_EQ(stats.note, "one server, 2 connections");
}

TEST_F(RedisTierTest, WholeSlicesAndManyBlocksThroughASmallWindow) {
  tier_ = open({.slice_bytes = kMaxSliceBytes - 1, .window_bytes = std::size_t{2} << 20});
  Records records;
  std::vector<Digest> keys;
  for (std::uint32_t i = 0; i < 90; ++i) {  // more than go in one group
    records.push_back(any_record(i, i % 30 == 0 ? 5'000'000 : 70'000));
    keys.push_back(records.back()->meta().key);
  }
  for (const BlockStatus status : tier_->put(records, soon())) EXPECT_EQ(status, BlockStatus::kOk);
  const auto got = get_all(*tier_, keys, soon());
  for (std::size_t i = 0; i < records.size(); ++i) {
    ASSERT_EQ(got[i].status, BlockStatus::kOk);
    EXPECT_TRUE(testing::same_block(*records[i], *got[i].record)) << i;
  }
  EXPECT_EQ(slices(keys[0]).size(), 5u);
}

TEST_F(RedisTierTest, DuplicateIsNotSentAgain) {
  const auto record = any_record(1, 500'000);
  ASSERT_EQ(put(record), BlockStatus::kOk);
  const auto written = server_->call({"INFO", "commandstats"}).text;
  const auto sets = [](const std::string& info) { return info.substr(info.find("cmdstat_set:"), 30); };
  EXPECT_EQ(put(record), BlockStatus::kOk);
  EXPECT_EQ(sets(server_->call({"INFO", "commandstats"}).text), sets(written));
  EXPECT_EQ(tier_->stats().puts, 1u);
}

TEST_F(RedisTierTest, RecordsOfOneBlockDoNotMix) {
  // Two writers at once: both found nothing. The first header stays, with its own slices.
  const auto first = any_record(1, 50'000, 0, 1), second = any_record(1, 50'000, 0, 2);
  ASSERT_EQ(put(first), BlockStatus::kOk);
  const std::string header = header_key(first->meta().key);
  const std::string value = server_->call({"GET", header}).text;
  server_->call({"DEL", header});
  ASSERT_EQ(put(second), BlockStatus::kOk);
  server_->call({"SET", header, value});
  const auto got = get(first->meta().key);
  ASSERT_EQ(got.status, BlockStatus::kOk);
  EXPECT_TRUE(testing::same_block(*first, *got.record));
}

TEST_F(RedisTierTest, WritersOfOneBlockAtOnce) {
  for (std::uint32_t round = 0; round < 20; ++round) {
    std::vector<std::jthread> threads;
    std::atomic<int> wrong = 0;
    for (std::int64_t t = 1; t <= 3; ++t) {
      threads.emplace_back(
          [&, t] { wrong += tier_->put({{any_record(round, 200'000, 0, t)}}, soon())[0] != BlockStatus::kOk; });
    }
    threads.clear();
    EXPECT_EQ(wrong, 0);
    const auto got = get(any_key(round));
    ASSERT_EQ(got.status, BlockStatus::kOk);
    EXPECT_TRUE(testing::same_block(*any_record(round, 200'000, 0, got.record->meta().created_s), *got.record));
    EXPECT_EQ(slices(any_key(round)).size(), (got.record->size() - 4096 + 9'999) / 10'000) << "remains of the others";
  }
}

TEST_F(RedisTierTest, TakesWhatAnotherTierHasStamped) {
  const auto record = any_record(1, 50'000);
  auto stamped = BlockRecord::parse(record->stamped(12345), 12345);
  ASSERT_TRUE(stamped);
  ASSERT_EQ(put(*stamped), BlockStatus::kOk);
  const auto got = get(record->meta().key);
  ASSERT_EQ(got.status, BlockStatus::kOk);
  EXPECT_TRUE(testing::same_block(*record, *got.record));
}

TEST_F(RedisTierTest, EraseLeavesNothing) {
  const auto record = any_record(1, 50'000);
  ASSERT_EQ(put(record), BlockStatus::kOk);
  EXPECT_EQ(tier_->pin(record->meta().key, unix_seconds() + 100), BlockStatus::kOk);
  EXPECT_EQ(tier_->erase({{record->meta().key, any_key(2)}}, soon()), std::vector(2, BlockStatus::kOk));
  EXPECT_EQ(server_->keys("*").size(), 0u);
  EXPECT_EQ(get(record->meta().key).status, BlockStatus::kMiss);
  ASSERT_EQ(put(record), BlockStatus::kOk);
  tier_->report_corrupt(record->meta().key);
  EXPECT_EQ(server_->keys("*").size(), 0u);
  EXPECT_EQ(tier_->stats().corrupt, 1u);
}

TEST_F(RedisTierTest, MissingSliceIsAMissAndIsWrittenAnew) {
  const auto record = any_record(1, 50'000);
  const Digest& key = record->meta().key;
  for (std::size_t n = 0; n < 6; ++n) {
    ASSERT_EQ(put(record), BlockStatus::kOk);
    const auto names = slices(key);
    ASSERT_EQ(names.size(), 6u);
    server_->call({"DEL", names[n]});
    EXPECT_EQ(get(key).status, BlockStatus::kMiss);
    EXPECT_EQ(server_->keys("*").size(), 0u);
  }
}

TEST_F(RedisTierTest, TornPutIsInvisible) {
  const auto record = any_record(1, 50'000);
  ASSERT_EQ(put(record), BlockStatus::kOk);
  server_->call({"DEL", header_key(record->meta().key)});
  EXPECT_EQ(get(record->meta().key).status, BlockStatus::kMiss);
  EXPECT_EQ(tier_->contains({{record->meta().key}}, soon())[0], BlockStatus::kMiss);
}

TEST_F(RedisTierTest, DamageIsNeverTakenForABlock) {
  const auto record = any_record(1, 50'000);
  const Digest& key = record->meta().key;
  ASSERT_EQ(put(record), BlockStatus::kOk);
  std::vector<std::string> names = slices(key);
  names.push_back(header_key(key));
  const std::string long_text(300'000, 'x'), huge(9 << 20, 'y');
  int harmless = 0;
  for (const std::string& name : names) {
    ASSERT_EQ(put(record), BlockStatus::kOk);
    const std::string last = std::to_string(server_->call({"STRLEN", name}).integer - 1);
    const std::vector<std::vector<std::string>> damages = {{"SETRANGE", name, "0", "?"},
                                                           {"SETRANGE", name, "100", "?"},
                                                           {"SETRANGE", name, last, "?"},
                                                           {"APPEND", name, "?"},
                                                           {"APPEND", name, long_text},
                                                           {"APPEND", name, huge},
                                                           {"SET", name, ""},
                                                           {"SET", name, "short"},
                                                           {"LPUSH", name, "x"}};
    for (const auto& damage : damages) {
      ASSERT_EQ(put(record), BlockStatus::kOk);
      if (damage[0] == "LPUSH") server_->call({"DEL", name});
      if (damage.size() == 3) server_->call({damage[0], damage[1], damage[2]});
      if (damage.size() == 4) server_->call({damage[0], damage[1], damage[2], damage[3]});
      const auto got = get(key);
      EXPECT_TRUE(testing::right_or_nothing(got, *record)) << damage[0] << " " << name;
      harmless += got.record != nullptr && got.record->intact();
      if (got.record != nullptr) tier_->report_corrupt(key);  // as the store does
      // The next put writes it again, unless the answer was so long that the connection was cut for it.
      if (damage.back() == huge) server_->call({"FLUSHALL"});
    }
  }
  EXPECT_EQ(harmless, 2);  // the last slice ends in padding, which belongs to no part
  ASSERT_EQ(put(record), BlockStatus::kOk);
  EXPECT_EQ(get(key).status, BlockStatus::kOk);
}

TEST_F(RedisTierTest, ARecordOfAnotherVersionIsACountedMissAndGoes) {
  const auto file = read_file(std::string(CAIRN_SOURCE_DIR) + "/cairn/store/golden/block_v1.rec", 1 << 20);
  ASSERT_TRUE(file) << file.error().message;
  const std::string_view record(reinterpret_cast<const char*>(file->data()), file->size());
  const std::string_view header = record.substr(0, kDirectIoPage), payload = record.substr(kDirectIoPage);
  Commit commit{.record_bytes = record.size(), .tag = 0, .slice_bytes = 10'000, .slices = 1};
  std::memcpy(&commit.tag, header.data() + header.size() - sizeof commit.tag, sizeof commit.tag);
  const auto end = commit.bytes();
  const Digest key = foreign_record(std::as_bytes(std::span(header)))->key;
  server_->call({"SET", header_key(key),
                 std::string(header) + std::string(reinterpret_cast<const char*>(end.data()), end.size())});
  server_->call({"SET", slice_key(key, commit.tag, 0), std::string(payload)});
  EXPECT_TRUE(tier_->list([](const StoredBlock&) { return ADD_FAILURE() << "it is not listed", true; }, soon()));
  EXPECT_EQ(tier_->stats().foreign, 1u);
  EXPECT_EQ(get(key).status, BlockStatus::kMiss);
  EXPECT_EQ(foreign_text(tier_->stats()), "2 blocks have format version 1; this build reads version 2");
  EXPECT_EQ(tier_->what_became_of(key), Gone::kForeign);
  EXPECT_EQ(tier_->stats().corrupt, 0u);
  EXPECT_TRUE(server_->keys("*").empty()) << "it would stand in the way of the block that is written anew";
}

TEST_F(RedisTierTest, AnotherBlocksHeaderIsCorrupt) {
  const auto record = any_record(1, 50'000), other = any_record(2, 50'000);
  ASSERT_EQ(put(record), BlockStatus::kOk);
  ASSERT_EQ(put(other), BlockStatus::kOk);
  server_->call({"COPY", header_key(other->meta().key), header_key(record->meta().key), "REPLACE"});
  EXPECT_EQ(get(record->meta().key).status, BlockStatus::kCorrupt);
  EXPECT_EQ(get(other->meta().key).status, BlockStatus::kOk);
}

TEST_F(RedisTierTest, TimeToLive) {
  const std::int64_t now = unix_seconds();
  const auto lasting = any_record(1, 20'000), ending = any_record(2, 20'000, now + 50), over = any_record(3, 10, now);
  EXPECT_EQ(put(lasting), BlockStatus::kOk);
  EXPECT_EQ(put(ending), BlockStatus::kOk);
  EXPECT_EQ(put(over), BlockStatus::kOk);
  const auto ttl = [&](const Digest& key) { return server_->call({"TTL", header_key(key)}).integer; };
  EXPECT_NEAR(static_cast<double>(ttl(lasting->meta().key)), 86'400, 5);
  EXPECT_NEAR(static_cast<double>(ttl(ending->meta().key)), 50, 5);
  for (const std::string& name : slices(ending->meta().key)) {
    EXPECT_GT(server_->call({"TTL", name}).integer, ttl(ending->meta().key));
  }
  EXPECT_NE(get(over->meta().key).status, BlockStatus::kOk);
  tier_ = open({.ttl = seconds(0)});
  const auto forever = any_record(4, 10);
  EXPECT_EQ(put(forever), BlockStatus::kOk);
  EXPECT_EQ(ttl(forever->meta().key), -1);
}

TEST_F(RedisTierTest, ExpiryIsCheckedOnReadingToo) {
  const auto record = any_record(1, 20'000, unix_seconds() + 1);
  ASSERT_EQ(put(record), BlockStatus::kOk);
  for (const std::string& name : server_->keys("*")) server_->call({"PERSIST", name});
  EXPECT_EQ(get(record->meta().key).status, BlockStatus::kOk);
  std::this_thread::sleep_for(milliseconds(1100));
  EXPECT_EQ(get(record->meta().key).status, BlockStatus::kExpired);
  EXPECT_EQ(server_->keys("*").size(), 0u);
}

TEST_F(RedisTierTest, PinExtendsAllKeys) {
  const auto record = any_record(1, 30'000);
  const Digest& key = record->meta().key;
  EXPECT_EQ(tier_->pin(key, unix_seconds() + 100), BlockStatus::kMiss);
  ASSERT_EQ(put(record), BlockStatus::kOk);
  const std::int64_t until = unix_seconds() + 1'000'000;
  EXPECT_EQ(tier_->pin(key, until), BlockStatus::kOk);
  for (const std::string& name : server_->keys("*")) EXPECT_EQ(server_->call({"EXPIRETIME", name}).integer, until);
  std::int64_t shown = 0;
  EXPECT_TRUE(tier_->list([&](const StoredBlock& block) { return shown = block.pinned_until_s, true; }, soon()));
  EXPECT_EQ(shown, until);
  EXPECT_EQ(tier_->pin(key, 0), BlockStatus::kOk);
  for (const std::string& name : server_->keys("*")) EXPECT_LE(server_->call({"TTL", name}).integer, 86'400);
}

TEST_F(RedisTierTest, ListShowsBlocksAndNothingElse) {
  Records records;
  std::set<Digest> expected;
  for (std::uint32_t i = 0; i < 300; ++i) {
    records.push_back(any_record(i, 3000));
    expected.insert(records.back()->meta().key);
  }
  tier_->put(records, soon());
  server_->call({"SET", "kv1:{beef}:h", "x"});
  server_->call({"SET", header_key(any_key(5000)), "no header"});
  server_->call({"COPY", header_key(any_key(1)), header_key(any_key(5001))});
  server_->call({"LPUSH", header_key(any_key(5002)), "x"});
  std::set<Digest> seen;
  ASSERT_TRUE(tier_->list(
      [&](const StoredBlock& block) {
        EXPECT_EQ(block.meta.recipe, any_key(7));
        EXPECT_GE(block.bytes, 3000u);
        seen.insert(block.meta.key);
        return true;
      },
      soon()));
  EXPECT_EQ(seen, expected);
  int calls = 0;
  EXPECT_TRUE(tier_->list([&](const StoredBlock&) { return ++calls < 3; }, soon()));
  EXPECT_EQ(calls, 3);
  EXPECT_FALSE(tier_->list([](const StoredBlock&) { return true; }, deadline_in(milliseconds(-1))));
}

TEST_F(RedisTierTest, Recipes) {
  tier_->describe_recipe(any_key(1), "a model, a plan");
  tier_->describe_recipe(any_key(2), std::string(60'000, 'r'));
  tier_->describe_recipe(any_key(3), std::string(70'000, 'r'));  // too long to be a description
  server_->call({"SET", "kv1:recipe:nonsense", "x"});
  const auto recipes = tier_->recipes();
  ASSERT_EQ(recipes.size(), 2u);
  EXPECT_EQ(recipes.at(any_key(1)), "a model, a plan");
  EXPECT_EQ(recipes.at(any_key(2)).size(), 60'000u);
}

TEST_F(RedisTierTest, ManyThreads) {
  std::vector<std::jthread> threads;
  std::atomic<int> wrong = 0;
  for (std::uint32_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint32_t i = 0; i < 30; ++i) {
        const auto record = any_record(i % 7 + (t % 2) * 100, 40'000);
        const Digest key = record->meta().key;
        wrong += tier_->put({{record}}, soon())[0] != BlockStatus::kOk;
        const auto got = get_all(*tier_, {{key}}, soon())[0];
        wrong += !testing::right_or_nothing(got, *record);
        if (i % 5 == t) tier_->erase({{key}}, soon());
      }
    });
  }
  threads.clear();
  EXPECT_EQ(wrong, 0);
}

TEST_F(RedisTierTest, DeadlineThatHasPassed) {
  const auto record = any_record(1, 100);
  EXPECT_EQ(tier_->put({{record}}, deadline_in(milliseconds(-1)))[0], BlockStatus::kTimeout);
  EXPECT_EQ(get_all(*tier_, {{record->meta().key}}, deadline_in(milliseconds(-1)))[0].status, BlockStatus::kTimeout);
  EXPECT_EQ(put(record), BlockStatus::kOk);
}

}  // namespace
}  // namespace cairn::redis
