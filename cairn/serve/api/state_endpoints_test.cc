// SPDX-License-Identifier: Apache-2.0
// What the page asks for, as an ordinary client gets it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include "cairn/store/ram_tier.h"
#include "cairn/testing/api_server.h"

namespace cairn::api {
namespace {

using testing::HasSubstr;
using testing::Not;

class StateTest : public testing::Test {
 protected:
  httplib::Result fetch(const std::string& path, const httplib::Headers& headers = {}) const {
    return httplib::Client("127.0.0.1", server_.port()).Get(path, headers);
  }
  OrderedJson get(const std::string& path, const httplib::Headers& headers = {}) const {
    return OrderedJson::parse(fetch(path, headers)->body);
  }
  void complete(const httplib::Headers& headers = {}) const {
    httplib::Client client("127.0.0.1", server_.port());
    EXPECT_EQ(client.Post("/v1/completions", headers, R"({"prompt":"t3"})", "application/json")->status, 200);
  }

  ApiServer server_;
};

TEST_F(StateTest, HasTheLatestRequestsAndTheirTimes) {
  server_.start();
  EXPECT_EQ(get("/api/state")["first_token"]["requests"], 0);
  for (int i = 0; i < 3; ++i) complete();
  const OrderedJson state = get("/api/state?requests=2");
  EXPECT_EQ(state["first_token"]["requests"], 3);
  EXPECT_EQ(state["requests"].size(), 2u);
  EXPECT_EQ(get("/api/state?requests=0")["requests"].size(), 0u);
  server_.stop();
  EXPECT_THAT(server_.logged.str(), Not(HasSubstr("/api/state")));
}

TEST_F(StateTest, ShowsTenantsOfOthersOnlyWhereMetricsAreOpen) {
  server_.start();
  EXPECT_EQ(get("/api/state")["tenants"].size(), 3u);
  server_.stop();
  server_.options.keys =
      *Keys::parse("alice " + hash_api_key("key-of-alice").hex() + "\nbob " + hash_api_key("key-of-bob").hex(), "keys");
  server_.start();
  const httplib::Headers alice = {{"Authorization", "Bearer key-of-alice"}};
  const OrderedJson own = get("/api/state", alice);
  EXPECT_EQ(own["tenants"].size(), 1u);
  EXPECT_EQ(own["tenants"][0], own["tenant"]);
  EXPECT_FALSE(own["loop"].contains("prefill_rows")) << "others' work shows in it";
  EXPECT_EQ(own["loop"]["running"], own["tenant"]["running"]);
  EXPECT_TRUE(own["store"].is_null()) << "others' hits show in it";
  server_.stop();
  server_.options.metrics_open = true;
  server_.start();
  const OrderedJson open = get("/api/state", alice);
  EXPECT_EQ(open["tenants"].size(), 3u);
  EXPECT_TRUE(open["loop"].contains("prefill_rows"));
}

TEST_F(StateTest, BlocksSayInWhichTiersTheyAre) {
  StoreOptions store;
  for (int i = 0; i < 2; ++i) store.tiers.push_back(*RamTier::create({.budget_bytes = std::size_t{1} << 20}));
  server_.backend.tiers = std::make_unique<Store>(std::move(store));
  BlockMeta meta;
  meta.key = server_.backend.held_blocks("", 1)[0].key;
  meta.parts = {{4, 0}};
  const std::vector<std::byte> part(4);
  const std::vector<std::span<const std::byte>> parts = {part};
  const std::vector<std::shared_ptr<const BlockRecord>> records = {BlockRecord::build(meta, parts, nullptr)};
  EXPECT_EQ(server_.backend.tiers->tier(1).put(records, deadline_in(std::chrono::seconds(10)))[0], BlockStatus::kOk);
  server_.start();
  const OrderedJson blocks = get("/api/blocks?tiers=1");
  EXPECT_EQ(blocks["tiers"].size(), 2u);
  EXPECT_EQ(blocks["tiers"][0]["name"], "ram");
  EXPECT_EQ(blocks["tiers"][0]["known"], true);
  EXPECT_EQ(blocks["blocks"][0]["tiers"], (OrderedJson{1}));
  EXPECT_FALSE(get("/api/blocks")["blocks"][0].contains("tiers"));
}

// The page's scripts and styles are files of its own, so nothing that a prompt brings along can run.
TEST_F(StateTest, ThePageAllowsNothingFromElsewhere) {
  server_.start();
  const auto page = fetch("/");
  const std::string policy = page->get_header_value("Content-Security-Policy");
  EXPECT_THAT(policy, HasSubstr("default-src 'none'"));
  EXPECT_THAT(policy, Not(HasSubstr("unsafe")));
  EXPECT_THAT(page->body, Not(HasSubstr("://")));
}

}  // namespace
}  // namespace cairn::api
