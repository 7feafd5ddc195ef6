// SPDX-License-Identifier: Apache-2.0
// A store folder of a test's own, and blocks by number.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cairn/store/disk/disk_tier.h"
#include "cairn/testing/stored_blocks.h"

namespace cairn::disk {

inline constexpr std::uint64_t kRecord = 8192;

inline Deadline soon() {
  return deadline_in(std::chrono::seconds(20));
}

class DiskTierTest : public testing::Test {
 protected:
  Result<std::unique_ptr<DiskTier>> open(std::uint64_t budget = 100 * kRecord, std::unique_ptr<DiskIo> io = nullptr,
                                         bool read_only = false) {
    DiskTierOptions options{.folder = path(), .residency = {.budget_bytes = budget}};
    options.segment_bytes = 10 * kRecord;
    options.min_free_bytes = 0;
    options.io = std::move(io);
    options.read_only = read_only;
    return DiskTier::open(std::move(options));
  }
  std::string path() const { return folder_.path() + "/store"; }
  static BlockStatus put(Tier& tier, std::uint64_t number) {
    const auto record = TestBlock{.number = number}.record();
    return tier.put({&record, 1}, soon())[0];
  }
  static BlockStatus get(Tier& tier, std::uint64_t number) {
    BlockStatus result = BlockStatus::kBroken;
    const Digest key = test_key(number);
    tier.get({&key, 1}, soon(), [&](std::size_t, BlockStatus status, std::shared_ptr<const BlockRecord> record) {
      const bool right = status != BlockStatus::kOk || TestBlock{.number = number}.equals(*record);
      EXPECT_TRUE(right || !record->intact()) << "wrong bytes that look right";
      result = right ? status : BlockStatus::kCorrupt;
    });
    return result;
  }
  std::vector<std::string> segments() const {
    std::vector<std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(path() + "/segments")) files.push_back(entry.path());
    std::ranges::sort(files);
    return files;
  }
  TestFolder folder_;
};

}  // namespace cairn::disk
