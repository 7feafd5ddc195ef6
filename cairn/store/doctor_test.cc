// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/doctor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "cairn/base/file.h"
#include "cairn/store/ram_tier.h"
#include "cairn/testing/stored_blocks.h"
#include "cairn/testing/test_folder.h"

namespace cairn {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::Each;
using testing::Field;
using testing::HasSubstr;
using testing::Not;

Deadline soon() {
  return deadline_in(std::chrono::seconds(20));
}

auto says(Verdict verdict, const std::string& words) {
  return AllOf(Field(&Finding::verdict, verdict), Field(&Finding::text, HasSubstr(words)));
}

TEST(Doctor, ASoundFolderIsWrittenAndReadBack) {
  const TestFolder folder;
  const auto findings = examine_store(folder.path() + "/new/store", {.disk_bytes = 1 << 20}, soon());
  EXPECT_THAT(findings, Each(Field(&Finding::verdict, Not(Verdict::kBad))));
  EXPECT_THAT(findings, Contains(says(Verdict::kGood, "are free")));
  EXPECT_THAT(findings, Contains(says(Verdict::kGood, "byte for byte")));
}

TEST(Doctor, SaysWhatWillNotWork) {
  const TestFolder folder;
  const std::string store = folder.path() + "/store", key = folder.path() + "/key";
  ASSERT_TRUE(write_file(key, "0102"));
  const auto findings = examine_store(store, {.disk_bytes = 1000, .key_file = key}, soon());
  EXPECT_THAT(findings, Contains(says(Verdict::kBad, "a budget of 1000 bytes holds hardly a block")));
  EXPECT_THAT(findings, Contains(says(Verdict::kBad, "key")));
  EXPECT_THAT(examine_store(store, {.disk_bytes = UINT64_MAX}, soon()),
              Contains(says(Verdict::kWarning, "less than the budget")));
  EXPECT_THAT(examine_store("ftp://x", {}, soon()), Contains(says(Verdict::kBad, "no kind of store")));
}

TEST(Doctor, LookingEvictsNothingAndTellsOfTooMuch) {
  const TestFolder folder;
  std::uint64_t before = 0;
  {
    const auto tier = *open_tier(folder.path() + "/store", {});
    for (std::uint64_t i = 0; i < 4; ++i) {
      const auto record = TestBlock{.number = i, .part_bytes = {1 << 20}}.record();
      ASSERT_EQ(tier->put({&record, 1}, soon())[0], BlockStatus::kOk);
    }
    before = tier->stats().blocks;
  }
  const auto findings = examine_store(folder.path() + "/store", {.disk_bytes = 1 << 20}, soon());
  EXPECT_THAT(findings, Contains(says(Verdict::kWarning, "more than the budget")));
  EXPECT_EQ((*open_tier(folder.path() + "/store", {}))->stats().blocks, before);
}

// A tier in use by another process is only read: a warning, and nothing is written to it.
TEST(Doctor, ATierThatIsOnlyReadIsAWarning) {
  const TestFolder folder;
  const auto writer = *open_tier(folder.path() + "/store", {});
  const auto findings = examine_store(folder.path() + "/store", {}, soon());
  EXPECT_THAT(findings, Contains(says(Verdict::kWarning, "opens")));
  EXPECT_THAT(findings, Not(Contains(says(Verdict::kGood, "byte for byte"))));
}

TEST(Doctor, TiersWithoutRoomForABlockAreNamed) {
  StoreOptions options;
  options.tiers.push_back(*RamTier::create({.budget_bytes = 1000}));
  options.tiers.push_back(*RamTier::create({.budget_bytes = 1 << 20}));
  const Store store(std::move(options));
  EXPECT_EQ(tiers_without_room(store, 0, 1000).size(), 0u);
  EXPECT_THAT(tiers_without_room(store, 0, 2048),
              testing::ElementsAre("store ram keeps nothing: it may hold 1000 B, a block of this model takes 2.0 KiB"));
  EXPECT_EQ(tiers_without_room(store, 100, 500).size(), 2u) << "a tenant's share counts too";
}

}  // namespace
}  // namespace cairn
