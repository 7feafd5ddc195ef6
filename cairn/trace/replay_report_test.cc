// SPDX-License-Identifier: Apache-2.0
// What the browser makes of the page is tested by tools/eval_report_test.py.
#include "cairn/trace/replay_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cairn {
namespace {

using testing::HasSubstr;

Trace two_requests() {
  return *parse_trace(
      "{\"input_length\": 1024, \"hash_ids\": [1, 2]}\n{\"input_length\": 1024, \"hash_ids\": [1, 2]}\n", "t",
      TraceFormat::kAuto);
}

TEST(ReplayReport, RunsEachPolicyAtEachCapacityAndOneWithoutBounds) {
  std::vector<double> shares;
  const auto replayed = replay_runs(
      two_requests(), "t", {.policies = {"lru", kClairvoyant}, .capacities = {1, 4}, .progress = [&](double share) {
                              shares.push_back(share);
                              return true;
                            }});
  ASSERT_TRUE(replayed);
  ASSERT_EQ(replayed->rows.size(), 5u);
  EXPECT_EQ(replayed->rows[0].policy, "lru");
  EXPECT_EQ(replayed->rows[1].policy, kClairvoyant);
  EXPECT_EQ(replayed->rows[2].capacity_blocks, 4u);
  EXPECT_EQ(replayed->rows[2].counts.hits, 2u);
  EXPECT_EQ(replayed->rows[4].capacity_blocks, 0u);
  EXPECT_EQ(replayed->block_bytes, 512u * 131072) << "of a usual model, unless it is given";
  EXPECT_TRUE(std::ranges::is_sorted(shares));
  EXPECT_EQ(replay_runs(two_requests(), "t", {.policies = {"best"}, .capacities = {1}}).error().code,
            ErrorCode::kInvalidArgument);
  const auto stopped = replay_runs(two_requests(), "t",
                                   {.policies = {"lru"}, .capacities = {1}, .progress = [](double) { return false; }});
  EXPECT_EQ(stopped.error().code, ErrorCode::kCancelled);
}

TEST(ReplayReport, NamesStayTextInThePage) {
  const auto replayed = replay_runs(two_requests(), "</script>@NONCE@\xff", {.policies = {"lru"}, .capacities = {4}});
  ASSERT_TRUE(replayed);
  const std::string page = replay_page({&*replayed, 1});
  EXPECT_THAT(page, HasSubstr(R"("file":"\u003c/script>@NONCE@\ufffd")"));
  EXPECT_THAT(page, HasSubstr(R"("block_hit_rate":0.5)"));
  EXPECT_EQ(page, replay_page({&*replayed, 1}));
  EXPECT_THAT(replay_json({&*replayed, 1}), HasSubstr(R"("format": "cairn.replay.v1")"));
}

}  // namespace
}  // namespace cairn
