// SPDX-License-Identifier: Apache-2.0
// Every kind of tier, for tests that hold for all of them.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "cairn/store/disk/disk_tier.h"
#include "cairn/store/ram_tier.h"
#include "cairn/store/redis/redis_tier.h"
#include "cairn/testing/redis_server.h"
#include "cairn/testing/stored_blocks.h"

namespace cairn {

inline constexpr std::uint64_t kRecord = 8192;  // a TestBlock's

struct TierMaker {
  std::string name;
  bool bounded;  // it keeps budgets of its own; a server has its own memory limit
  std::function<std::unique_ptr<Tier>(const TestFolder&, ResidencyOptions)> make;
};

inline void PrintTo(const TierMaker& maker, std::ostream* out) {
  *out << maker.name;
}

inline std::unique_ptr<Tier> make_disk_tier(const TestFolder& folder, ResidencyOptions residency,
                                            disk::DiskIoKind kind) {
  DiskTierOptions options{.folder = folder.path() + "/store", .residency = std::move(residency)};
  options.segment_bytes = 10 * kRecord;
  options.min_free_bytes = 0;
  options.io = disk::make_disk_io(kind);
  auto tier = DiskTier::open(std::move(options));
  EXPECT_TRUE(tier) << (tier ? "" : tier.error().message);
  return *std::move(tier);
}

inline const TierMaker kTierMakers[] = {
    {"ram", true,
     [](const TestFolder&, ResidencyOptions residency) -> std::unique_ptr<Tier> {
       return *RamTier::create(std::move(residency));
     }},
    {"disk", true,
     [](const TestFolder& folder, ResidencyOptions residency) {
       return make_disk_tier(folder, std::move(residency), disk::DiskIoKind::kBest);
     }},
    {"disk_threads", true,
     [](const TestFolder& folder, ResidencyOptions residency) {
       return make_disk_tier(folder, std::move(residency), disk::DiskIoKind::kThreads);
     }},
    {"redis", false,
     [](const TestFolder&, ResidencyOptions) -> std::unique_ptr<Tier> {
       if (!::cairn::testing::RedisServer::installed()) return nullptr;
       static ::cairn::testing::RedisServer server;  // one for the suite, emptied for each test
       (void)server.call({"FLUSHALL"});
       return *RedisTier::open({.url = server.url()});
     }},
};

class TierConformance : public ::testing::TestWithParam<TierMaker> {
 protected:
  std::unique_ptr<Tier> make(ResidencyOptions residency = {.budget_bytes = 100 * kRecord}) {
    return GetParam().make(folder_, std::move(residency));
  }
  static Deadline soon() { return deadline_in(std::chrono::seconds(20)); }
  static BlockStatus put(Tier& tier, const TestBlock& block) {
    const auto record = block.record();
    return tier.put({&record, 1}, soon())[0];
  }
  // The status, kCorrupt for wrong bytes.
  static BlockStatus get(Tier& tier, const TestBlock& block, Deadline deadline = soon()) {
    BlockStatus result = BlockStatus::kBroken;
    const Digest key = test_key(block.number);
    int calls = 0;
    tier.get({&key, 1}, deadline, [&](std::size_t i, BlockStatus status, std::shared_ptr<const BlockRecord> record) {
      EXPECT_EQ(i, 0u);
      EXPECT_EQ(record != nullptr, status == BlockStatus::kOk);
      ++calls;
      result = status != BlockStatus::kOk || block.equals(*record) ? status : BlockStatus::kCorrupt;
    });
    EXPECT_EQ(calls, 1);
    return result;
  }
  // Of what a tier without budgets cannot show.
  static bool bounded() { return GetParam().bounded; }
  TestFolder folder_;
};

}  // namespace cairn
