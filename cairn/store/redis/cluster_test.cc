// SPDX-License-Identifier: Apache-2.0
// The Redis tier over a cluster of three: routing, moved slots, a node that dies.
#include "cairn/store/redis/cluster.h"

#include <gtest/gtest.h>

#include "cairn/store/redis/redis_tier.h"
#include "cairn/testing/redis_records.h"
#include "cairn/testing/redis_server.h"

namespace cairn::redis {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::any_record;
using testing::get_all;
using testing::Records;
using testing::RedisServer;
using testing::soon;

// Three masters with a third of the slots each, and a replica of the second.
class RedisClusterTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!RedisServer::installed()) return;
    for (int i = 0; i < 4; ++i) {
      bus_[i] = testing::free_port();
      nodes_.push_back(std::make_unique<RedisServer>(
          std::vector<std::string>{"--cluster-enabled", "yes", "--cluster-port", std::to_string(bus_[i]),
                                   "--cluster-require-full-coverage", "no", "--cluster-node-timeout", "500",
                                   "--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"},
          testing::free_port()));
    }
    constexpr const char* kRanges[3][2] = {{"0", "5460"}, {"5461", "10922"}, {"10923", "16383"}};
    for (int i = 0; i < 4; ++i) {
      nodes_[i]->call({"CLUSTER", "SET-CONFIG-EPOCH", std::to_string(i + 1)});
      if (i < 3) nodes_[i]->call({"CLUSTER", "ADDSLOTSRANGE", kRanges[i][0], kRanges[i][1]});
      if (i == 0) continue;
      nodes_[i]->call({"CLUSTER", "MEET", "127.0.0.1", std::to_string(nodes_[0]->port()), std::to_string(bus_[0])});
    }
    const std::string id = nodes_[1]->call({"CLUSTER", "MYID"}).text;
    (void)wait_for([&] { return !nodes_[3]->call({"CLUSTER", "REPLICATE", id}).is(Reply::Kind::kError); });
  }
  static void TearDownTestSuite() { nodes_.clear(); }
  void SetUp() override {
    if (nodes_.empty()) GTEST_SKIP() << "redis-server is not installed";
    ASSERT_TRUE(wait_for([] {
      return std::ranges::all_of(nodes_, [](const auto& node) {
        const std::string info = node->call({"CLUSTER", "INFO"}).text;
        return info.find("cluster_state:ok") != std::string::npos &&
               info.find("cluster_slots_ok:16384") != std::string::npos;
      });
    }));
    for (std::uint32_t i = 0; i < 30; ++i) {
      records_.push_back(any_record(i, 40'000));
      keys_.push_back(records_.back()->meta().key);
    }
  }
  static std::unique_ptr<RedisTier> open(int seed = 0) {
    auto tier = RedisTier::open({.url = nodes_[seed]->url("?cluster=1"), .slice_bytes = 15'000});
    EXPECT_TRUE(tier) << tier.error().message;
    return tier ? *std::move(tier) : nullptr;
  }
  static bool wait_for(const std::function<bool()>& condition) {
    const Deadline patience = soon();
    while (!condition()) {
      if (passed(patience)) return false;
      std::this_thread::sleep_for(milliseconds(20));
    }
    return true;
  }
  static int owner(const Digest& key) {
    const int slot = slot_of(key.hex());
    return slot <= 5460 ? 0 : slot <= 10922 ? 1 : 2;
  }

  static inline std::uint16_t bus_[4] = {};
  static inline std::vector<std::unique_ptr<RedisServer>> nodes_;
  Records records_;
  std::vector<Digest> keys_;
};

TEST_F(RedisClusterTest, RoutesMovesAndLosesANode) {
  EXPECT_FALSE(RedisTier::open({.url = nodes_[2]->url()})) << "a cluster needs cluster=1";
  auto tier = open();
  ASSERT_NE(tier, nullptr);
  EXPECT_EQ(tier->stats().note, "cluster of 3, 2 connections each");
  for (const BlockStatus status : tier->put(records_, soon())) EXPECT_EQ(status, BlockStatus::kOk);
  for (const auto& got : get_all(*tier, keys_, soon())) EXPECT_EQ(got.status, BlockStatus::kOk);
  for (int i = 0; i < 3; ++i) EXPECT_GT(nodes_[i]->call({"DBSIZE"}).integer, 0);
  int listed = 0;
  EXPECT_TRUE(tier->list([&](const StoredBlock&) { return ++listed > 0; }, soon()));
  EXPECT_EQ(listed, 30);
  tier->describe_recipe(testing::any_key(1), "what it is");
  EXPECT_EQ(tier->recipes().size(), 1u);

  // A slot on its way from node 0 to node 1: what is not on the old node any more is asked for on the new one.
  const auto moving = std::ranges::find_if(keys_, [](const Digest& key) { return owner(key) == 0; });
  ASSERT_NE(moving, keys_.end());
  const auto& record = records_[static_cast<std::size_t>(moving - keys_.begin())];
  const std::string slot = std::to_string(slot_of(moving->hex()));
  const std::string id0 = nodes_[0]->call({"CLUSTER", "MYID"}).text, id1 = nodes_[1]->call({"CLUSTER", "MYID"}).text;
  nodes_[1]->call({"CLUSTER", "SETSLOT", slot, "IMPORTING", id0});
  nodes_[0]->call({"CLUSTER", "SETSLOT", slot, "MIGRATING", id1});
  const std::string to = std::to_string(nodes_[1]->port());
  for (const std::string& name : nodes_[0]->keys("kv1:{" + moving->hex() + "}:*")) {
    nodes_[0]->call({"MIGRATE", "127.0.0.1", to, name, "0", "5000"});
  }
  const auto asked = get_all(*tier, {{*moving}}, soon())[0];
  ASSERT_EQ(asked.status, BlockStatus::kOk);
  EXPECT_TRUE(testing::same_block(*record, *asked.record));
  EXPECT_EQ(tier->erase({{*moving}}, soon())[0], BlockStatus::kOk);
  EXPECT_EQ(tier->put({{record}}, soon())[0], BlockStatus::kOk);
  // Now it has moved, and the tier's map is wrong.
  for (const int i : {1, 0, 2}) nodes_[i]->call({"CLUSTER", "SETSLOT", slot, "NODE", id1});
  const auto moved = get_all(*tier, {{*moving}}, soon())[0];
  ASSERT_EQ(moved.status, BlockStatus::kOk);
  EXPECT_TRUE(testing::same_block(*record, *moved.record));

  nodes_[2]->stop();
  const auto begun = std::chrono::steady_clock::now();
  const auto got = get_all(*tier, keys_, soon());
  const auto put = tier->put(records_, soon());
  for (std::size_t i = 0; i < keys_.size(); ++i) {
    EXPECT_EQ(got[i].times, 1);
    EXPECT_EQ(got[i].status, owner(keys_[i]) == 2 ? BlockStatus::kBroken : BlockStatus::kOk) << i;
    EXPECT_EQ(put[i], owner(keys_[i]) == 2 ? BlockStatus::kBroken : BlockStatus::kOk) << i;
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begun, seconds(5));
  EXPECT_NE(open(1), nullptr) << "two of three are enough to start";

  // It comes back, empty.
  nodes_[2]->start();
  const auto lost = std::ranges::find_if(keys_, [](const Digest& key) { return owner(key) == 2; });
  const auto& again = records_[static_cast<std::size_t>(lost - keys_.begin())];
  EXPECT_TRUE(wait_for([&] { return tier->put({{again}}, soon())[0] == BlockStatus::kOk; }));
}

TEST_F(RedisClusterTest, ReplicaTakesOver) {
  auto tier = open();
  ASSERT_NE(tier, nullptr);
  for (const BlockStatus status : tier->put(records_, soon())) EXPECT_EQ(status, BlockStatus::kOk);
  ASSERT_TRUE(wait_for([&] {
    return nodes_[1]->call({"DBSIZE"}).integer == nodes_[3]->call({"DBSIZE"}).integer &&
           nodes_[3]->call({"INFO", "replication"}).text.find("master_link_status:up") != std::string::npos;
  }));
  nodes_[1]->stop();
  EXPECT_TRUE(wait_for([&] {
    const auto got = get_all(*tier, keys_, soon());
    return std::ranges::all_of(got, [](const auto& one) { return one.status == BlockStatus::kOk; });
  })) << "failover was not followed";
}

}  // namespace
}  // namespace cairn::redis
