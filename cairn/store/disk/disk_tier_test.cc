// SPDX-License-Identifier: Apache-2.0
// What is particular to a disk: restarts, two processes, folders that go, budgets that hold.
#include "cairn/store/disk/disk_tier.h"

#include <gtest/gtest.h>

#include <fstream>

#include "cairn/testing/disk_tiers.h"
#include "cairn/testing/faulty_io.h"

namespace cairn::disk {
namespace {

TEST_F(DiskTierTest, BlocksOutliveTheTier) {
  {
    const auto tier = open();
    for (std::uint64_t i = 0; i < 25; ++i) EXPECT_EQ(put(**tier, i), BlockStatus::kOk);
    EXPECT_EQ((*tier)->pin(test_key(3), unix_seconds() + 1000), BlockStatus::kOk);
  }
  for (const bool checkpoint : {true, false}) {
    if (!checkpoint) std::filesystem::remove(path() + "/checkpoint");
    const auto tier = open();
    ASSERT_TRUE(tier);
    for (std::uint64_t i = 0; i < 25; ++i) EXPECT_EQ(get(**tier, i), BlockStatus::kOk) << i;
    EXPECT_EQ((*tier)->stats().bytes, 25 * kRecord);
  }
}

TEST_F(DiskTierTest, ARemovedFolderIsSaid) {
  const auto tier = open();
  EXPECT_EQ(put(**tier, 1), BlockStatus::kOk);
  std::filesystem::remove_all(path());
  EXPECT_EQ(put(**tier, 2), BlockStatus::kBroken);
  EXPECT_NE((*tier)->stats().note.find("was removed"), std::string::npos);
  const Status flushed = (*tier)->flush(soon());
  ASSERT_FALSE(flushed);
  EXPECT_NE(flushed.error().message.find("was removed"), std::string::npos);
}

TEST_F(DiskTierTest, AMovedFolderIsSaid) {
  const auto tier = open();
  EXPECT_EQ(put(**tier, 1), BlockStatus::kOk);
  std::filesystem::rename(path(), path() + "-elsewhere");
  EXPECT_EQ(put(**tier, 2), BlockStatus::kBroken);
  EXPECT_NE((*tier)->stats().note.find("moved"), std::string::npos);
  EXPECT_EQ(get(**tier, 1), BlockStatus::kOk) << "what is open can be read";
  std::filesystem::rename(path() + "-elsewhere", path());
  EXPECT_EQ(put(**tier, 2), BlockStatus::kOk);
}

TEST_F(DiskTierTest, WhatIsLeasedStaysUntilItIsRead) {
  const auto tier = open(5 * kRecord);
  for (std::uint64_t i = 0; i < 5; ++i) EXPECT_EQ(put(**tier, i), BlockStatus::kOk);
  std::vector<Digest> keys;
  for (std::uint64_t i = 0; i < 5; ++i) keys.push_back(test_key(i));
  EXPECT_EQ((*tier)->lease(keys, soon()), std::vector(5, BlockStatus::kOk));
  EXPECT_EQ(put(**tier, 10), BlockStatus::kFull);
  EXPECT_EQ(get(**tier, 3), BlockStatus::kOk);
  EXPECT_EQ(put(**tier, 10), BlockStatus::kOk);
  EXPECT_EQ(get(**tier, 3), BlockStatus::kMiss);
}

TEST_F(DiskTierTest, OneWriterAndReadersThatFollowIt) {
  const auto writer = open();
  EXPECT_EQ(put(**writer, 1), BlockStatus::kOk);
  const auto reader = open();  // the lock belongs to the open file, so this process is as good as another
  ASSERT_TRUE(reader);
  EXPECT_EQ((*reader)->read_only(), ReadOnly::kInUse);
  EXPECT_NE((*reader)->stats().note.find("another process writes"), std::string::npos);
  EXPECT_EQ(get(**reader, 1), BlockStatus::kOk);
  EXPECT_EQ(put(**reader, 2), BlockStatus::kReadOnly);
  EXPECT_EQ(put(**writer, 2), BlockStatus::kOk);
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  EXPECT_EQ(get(**reader, 2), BlockStatus::kOk) << "a reader sees what is written later";
  const Digest gone = test_key(1);
  (*writer)->erase({&gone, 1}, soon());
  EXPECT_EQ(get(**reader, 1), BlockStatus::kMiss);
}

TEST_F(DiskTierTest, ASmallerBudgetKeepsWhatThePolicyAndPinsWant) {
  {
    const auto tier = open();
    for (std::uint64_t i = 0; i < 20; ++i) EXPECT_EQ(put(**tier, i), BlockStatus::kOk);
    EXPECT_EQ((*tier)->pin(test_key(3), unix_seconds() + 1000), BlockStatus::kOk);
  }
  const auto tier = open(5 * kRecord);
  EXPECT_EQ((*tier)->stats().blocks, 5u);
  EXPECT_EQ(get(**tier, 3), BlockStatus::kOk);
}

TEST_F(DiskTierTest, AFolderThatWasOnlyBegunIsTaken) {
  std::filesystem::create_directories(path() + "/segments");
  std::filesystem::create_directories(path() + "/lost+found");
  EXPECT_TRUE(open());
}

TEST_F(DiskTierTest, RemembersWhatBecameOfBlocks) {
  {
    const auto tier = open(10 * kRecord);
    for (std::uint64_t i = 0; i < 15; ++i) EXPECT_EQ(put(**tier, i), BlockStatus::kOk);
    const Digest last = test_key(14);
    (*tier)->erase({&last, 1}, soon());
    (*tier)->report_corrupt(test_key(13));
  }
  const auto tier = open(10 * kRecord);
  EXPECT_EQ((*tier)->what_became_of(test_key(14)), Gone::kErased);
  EXPECT_EQ((*tier)->what_became_of(test_key(13)), Gone::kDamaged);
  EXPECT_EQ((*tier)->what_became_of(test_key(99)), Gone::kUnknown);
  std::size_t evicted = 0;
  for (std::uint64_t i = 0; i < 13; ++i) evicted += (*tier)->what_became_of(test_key(i)) == Gone::kEvicted;
  EXPECT_EQ(evicted, 5u);
  EXPECT_EQ(put(**tier, 14), BlockStatus::kOk);
  EXPECT_EQ((*tier)->what_became_of(test_key(14)), Gone::kUnknown) << "it is there again";
}

TEST_F(DiskTierTest, RefusesWhatIsNoStore) {
  std::filesystem::create_directories(path());
  std::ofstream(path() + "/letters.txt") << "dear";
  EXPECT_NE(open().error().message.find("not a store"), std::string::npos);
  std::filesystem::remove(path() + "/letters.txt");
  std::ofstream(path() + "/cairn-store") << "cairn store 9\n";
  EXPECT_EQ(open().error().code, ErrorCode::kUnsupported);
  std::ofstream(path() + "/cairn-store") << "something\n";
  EXPECT_EQ(open().error().code, ErrorCode::kCorrupt);
}

TEST_F(DiskTierTest, WithoutHolesTheBudgetHoldsToo) {
  auto plan = std::make_shared<FaultyIo::Plan>();
  plan->no_holes = true;
  const auto tier = open(30 * kRecord, std::make_unique<FaultyIo>(plan));
  std::uint64_t files = 0;
  for (std::uint64_t i = 0; i < 200; ++i) {
    (void)put(**tier, i);
    files = 0;
    for (const std::string& segment : segments()) files += std::filesystem::file_size(segment);
    EXPECT_LE(files, 30 * kRecord + 10 * kRecord) << "more than the budget and a segment being emptied";
  }
  EXPECT_EQ(get(**tier, 199), BlockStatus::kOk);
}

}  // namespace
}  // namespace cairn::disk
