// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/api/records.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>
#include <sstream>

#include "cairn/base/file.h"
#include "cairn/store/ram_tier.h"
#include "cairn/testing/fake_backend.h"

namespace cairn::api {
namespace {

using testing::HasSubstr;
using testing::Not;

RequestRecord record_of(const std::string& id, const std::string& tenant) {
  RequestRecord record{.id = id,
                       .request_id = "r-" + id,
                       .tenant = tenant,
                       .endpoint = "/v1/completions",
                       .status = 200,
                       .generated = true};
  record.choices = 1;
  record.usage = {.prompt_tokens = 100, .cached_tokens = 64, .stored_tokens = 32, .completion_tokens = 5};
  record.timing = {.queued_s = 0.01, .load_s = 0.02, .prefill_s = 0.3, .first_token_s = 0.35, .total_s = 1.5};
  record.reason = "stop";
  return record;
}

TEST(RequestRecord, ExplainsWhereTheTimeWent) {
  EXPECT_EQ(
      explanation(record_of("a", "")),
      "64 of 100 prompt tokens were taken from the cache (32 of them from the store), 36 were computed. It waited 10 "
      "ms, "
      "loaded for 20 ms, computed the prompt in 300 ms; the first token came after 350 ms, the end after 1.50 s.");
}

TEST(RequestRecord, SaysWhatThePolicyDid) {
  RequestRecord record = record_of("a", "");
  record.usage.policy = {.policy = "h2o+keep=0.5", .kept = 0.5, .bytes_freed = 1 << 20, .put_off = 2};
  EXPECT_THAT(explanation(record),
              HasSubstr(" Policy h2o+keep=0.5 kept 50.0 % of the tokens and freed 1.0 MiB, found no "
                        "room to keep less, 2 times."));
  const OrderedJson policy = record_json(record)["usage"]["policy"];
  EXPECT_EQ(policy["put_off"], 2);
  EXPECT_EQ(policy["kv_bytes_freed"], 1 << 20);
  record.usage.policy = {.policy = "h2o+keep=0.5", .put_off = 3};
  EXPECT_THAT(explanation(record), HasSubstr(" Policy h2o+keep=0.5 found no room to keep less, 3 times."));
}

TEST(RecentRequests, KeepTheLastOnesOfEachTenant) {
  RecentRequests recent(3);
  for (const char* id : {"a", "b", "c", "d"}) recent.add(record_of(id, id[0] == 'c' ? "bob" : "alice"));
  EXPECT_EQ(recent.of_tenant("alice", 10).size(), 2u);
  EXPECT_EQ(recent.of_tenant("alice", 10)[0].id, "d");
  EXPECT_EQ(recent.of_tenant("alice", 1).size(), 1u);
  EXPECT_TRUE(recent.find("c", "bob").has_value());
  EXPECT_FALSE(recent.find("c", "alice").has_value());
  EXPECT_FALSE(recent.find("a", "alice").has_value());
}

TEST(FirstTokenTimes, AreThoseOfRequestsThatHadAToken) {
  EXPECT_EQ(first_token_times({}).requests, 0u);
  std::vector<RequestRecord> records;
  for (int i = 20; i >= 1; --i) {
    records.push_back(record_of(std::to_string(i), ""));
    records.back().timing.first_token_s = i;
  }
  records.push_back(record_of("cancelled", ""));
  records.back().usage.completion_tokens = 0;
  records.back().timing.first_token_s = 0;
  const FirstTokenTimes times = first_token_times(records);
  EXPECT_EQ(times.requests, 20u);
  EXPECT_EQ(times.p50_s, 10);
  EXPECT_EQ(times.p95_s, 19);
  EXPECT_EQ(first_token_times(std::span(records).first(1)).p95_s, 20);
}

TEST(AccessLog, OneLinePerRequestInEitherForm) {
  std::ostringstream plain, json;
  RequestRecord record = record_of("cmpl-1", "alice");
  record.error = "broken\nline \"x\" tenant=bob";
  AccessLog(AccessLog::Form::kLogfmt, &plain).request(record);
  AccessLog(AccessLog::Form::kJson, &json).request(record);
  const std::string line = plain.str();
  EXPECT_EQ(std::ranges::count(line, '\n'), 1);
  EXPECT_THAT(line, HasSubstr(" tenant=alice "));
  EXPECT_THAT(line, HasSubstr(" cached_tokens=64 "));
  EXPECT_THAT(line, HasSubstr(R"(error="broken\nline \"x\" tenant=bob")"));
  const OrderedJson parsed = OrderedJson::parse(json.str());
  EXPECT_EQ(parsed["request_id"], "r-cmpl-1");
  EXPECT_EQ(parsed["finish_reason"], "stop");
  EXPECT_EQ(parsed["prefill_s"], 0.3);
}

TEST(Metrics, CountAndCopy) {
  const FakeBackend backend;
  Metrics metrics;
  metrics.observe(record_of("a", "alice"));
  const std::string all = metrics.text(backend, std::nullopt);
  for (const char* line : {
           "# TYPE cairn:time_to_first_token_seconds histogram",
           "cairn:time_to_first_token_seconds_count 1\n",
           "cairn:time_to_first_token_seconds_bucket{le=\"0.25\"} 0\n",
           "cairn:time_to_first_token_seconds_bucket{le=\"0.5\"} 1\n",
           "cairn:e2e_request_latency_seconds_sum 1.5\n",
           "cairn:time_per_output_token_seconds_count 1\n",
           "cairn:request_success_total{finished_reason=\"stop\"} 1\n",
           "cairn:num_requests_running 0\n",
           "cairn:num_requests_waiting 0\n",
           "cairn:prompt_tokens_total{tenant=\"alice\"} 100\n",
           "cairn:prefix_cache_hits_total{tenant=\"bob\"} 60\n",
           "cairn:kv_bytes{tenant=\"alice\",tier=\"memory\"} 250\n",
           "cairn:kv_sheet_bytes{tenant=\"alice\"} 30\n",
           "cairn:kv_cache_usage_perc{tenant=\"alice\"} 0.25\n",
           "cairn:kept_prefixes{tenant=\"alice\"} 5\n",
           "cairn:kept_prefix_bytes{tenant=\"alice\"} 120\n",
           "cairn:kept_prefix_hits_total{tenant=\"alice\"} 3\n",
           "cairn:kept_prefix_tokens_total{tenant=\"alice\"} 384\n",
           "cairn:kept_prefix_evictions_total{tenant=\"alice\"} 4\n",
       }) {
    EXPECT_THAT(all, HasSubstr(line));
  }
  const std::string own = metrics.text(backend, "alice");
  EXPECT_THAT(own, HasSubstr("tenant=\"alice\""));
  EXPECT_THAT(own, Not(HasSubstr("bob")));
  for (const char* others_too : {"passes_total", "time_to_first_token", "success_total", "num_requests_running"}) {
    EXPECT_THAT(own, Not(HasSubstr(others_too)));
  }
}

// A panel of a name that nobody writes would be empty for ever.
TEST(Metrics, TheDashboardShowsWhatIsWritten) {
  FakeBackend backend;
  StoreOptions store;
  store.tiers.push_back(*RamTier::create({.budget_bytes = std::size_t{1} << 20}));
  backend.tiers = std::make_unique<Store>(std::move(store));
  Metrics metrics;
  RequestRecord record = record_of("a", "alice");
  record.client_gone = true;
  metrics.observe(record);
  const std::string written = metrics.text(backend, std::nullopt);

  const auto bytes = read_file(CAIRN_SOURCE_DIR "/docs/grafana.json", std::size_t{1} << 20);
  ASSERT_TRUE(bytes.has_value());
  const std::string dashboard(reinterpret_cast<const char*>(bytes->data()), bytes->size());
  const std::regex name("cairn:[a-z0-9_]+");
  int names = 0;
  for (std::sregex_iterator found(dashboard.begin(), dashboard.end(), name), end; found != end; ++found, ++names) {
    EXPECT_TRUE(written.find(found->str() + "{") != std::string::npos ||
                written.find(found->str() + " ") != std::string::npos)
        << found->str();
  }
  EXPECT_GT(names, 20);
}

}  // namespace
}  // namespace cairn::api
