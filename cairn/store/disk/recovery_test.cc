// SPDX-License-Identifier: Apache-2.0
// What damage, failing disks, crashes and other builds leave in a folder: nothing wrong is read, and what was
// acknowledged is there.
#include "cairn/store/disk/recovery.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#include "cairn/base/file.h"
#include "cairn/testing/disk_tiers.h"
#include "cairn/testing/faulty_io.h"

namespace cairn::disk {
namespace {

using DiskRecoveryTest = DiskTierTest;

TEST_F(DiskRecoveryTest, ADamagedCheckpointCostsAScan) {
  {
    const auto tier = open();
    for (std::uint64_t i = 0; i < 25; ++i) EXPECT_EQ(put(**tier, i), BlockStatus::kOk);
    const Digest gone = test_key(7);
    (*tier)->erase({&gone, 1}, soon());
  }
  const std::string checkpoint = path() + "/checkpoint";
  const auto size = std::filesystem::file_size(checkpoint);
  for (std::uintmax_t byte = 0; byte < size; byte += 97) {
    std::fstream file(checkpoint, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(byte));
    const char old = static_cast<char>(file.get());
    file.seekp(static_cast<std::streamoff>(byte));
    file.put(static_cast<char>(old ^ 0x10));
    file.close();
    const auto tier = open(100 * kRecord, nullptr, /*read_only=*/true);
    ASSERT_TRUE(tier);
    EXPECT_NE((*tier)->stats().note.find("the checkpoint is damaged"), std::string::npos);
    EXPECT_EQ((*tier)->stats().blocks, 24u);
    EXPECT_EQ(get(**tier, 24), BlockStatus::kOk);
    std::fstream again(checkpoint, std::ios::in | std::ios::out | std::ios::binary);
    again.seekp(static_cast<std::streamoff>(byte));
    again.put(old);
  }
}

TEST_F(DiskRecoveryTest, ACheckpointThatMakesNoSenseCostsAScan) {
  {
    const auto tier = open();
    for (std::uint64_t i = 0; i < 5; ++i) EXPECT_EQ(put(**tier, i), BlockStatus::kOk);
  }
  const std::string path_of_it = path() + "/checkpoint";
  const Checkpoint good = *read_checkpoint(path_of_it);
  for (const auto& [offset, bytes] : std::vector<std::pair<std::uint64_t, std::uint64_t>>{
           {0, 0}, {0, 100}, {1, kRecord}, {0, kRecord + 1}, {0, std::uint64_t{40} << 30}, {UINT64_MAX, kRecord}}) {
    Checkpoint bad = good;
    for (CheckpointBlock& block : bad.blocks) {
      block.offset = offset == 0 ? block.offset : offset;
      block.bytes = bytes;
    }
    ASSERT_TRUE(write_checkpoint(path_of_it, bad));
    const auto tier = open();
    ASSERT_TRUE(tier);
    for (std::uint64_t i = 0; i < 5; ++i) EXPECT_EQ(get(**tier, i), BlockStatus::kOk) << offset << ", " << bytes;
  }
}

TEST_F(DiskRecoveryTest, DamagedRecordsAreMisses) {
  {
    const auto tier = open();
    for (std::uint64_t i = 0; i < 10; ++i) EXPECT_EQ(put(**tier, i), BlockStatus::kOk);
  }
  const int fd = ::open(segments()[0].c_str(), O_RDWR);
  for (std::uint64_t i = 0; i < 10; ++i) {  // a byte of the header, of the first part, of the last, in turns
    const off_t at = static_cast<off_t>(i * kRecord + (i % 3 == 0 ? 40 + i : i % 3 == 1 ? 4100 : 4096 + 1700));
    char byte;
    ASSERT_EQ(pread(fd, &byte, 1, at), 1);
    byte ^= 4;
    ASSERT_EQ(pwrite(fd, &byte, 1, at), 1);
  }
  ::close(fd);
  const auto tier = open();
  for (std::uint64_t i = 0; i < 10; ++i) EXPECT_NE(get(**tier, i), BlockStatus::kOk) << i;
}

TEST_F(DiskRecoveryTest, WhatWasLeftUnfinishedGoes) {
  { ASSERT_TRUE(open()); }
  const std::string left = path() + "/checkpoint.tmp-1-0";
  const std::string recipe = path() + "/recipes/abc.tmp-1-0", marker = path() + "/cairn-store.tmp-1-0";
  for (const std::string& file : {left, recipe, marker}) std::ofstream(file) << "half";
  {
    const auto writer = open();
    EXPECT_FALSE(std::filesystem::exists(left));
    EXPECT_FALSE(std::filesystem::exists(recipe));
    EXPECT_TRUE(std::filesystem::exists(marker)) << "others make the folder at the same time";
    std::ofstream(left) << "somebody else's";
    const auto reader = open();
    EXPECT_TRUE(std::filesystem::exists(left)) << "it does not hold the lock";
  }
}

TEST_F(DiskRecoveryTest, NumbersOfSegmentsAreNotUsedAgain) {
  { EXPECT_EQ(put(**open(), 1), BlockStatus::kOk); }
  const std::string checkpoint = path() + "/checkpoint";
  for (const std::string& segment : segments()) std::filesystem::remove(segment);
  std::filesystem::copy_file(checkpoint, checkpoint + ".old");
  { EXPECT_EQ(put(**open(), 2), BlockStatus::kOk); }
  // As if killed before the second checkpoint.
  std::filesystem::copy_file(checkpoint + ".old", checkpoint, std::filesystem::copy_options::overwrite_existing);
  const auto tier = open();
  EXPECT_EQ(get(**tier, 2), BlockStatus::kOk);
  EXPECT_EQ(get(**tier, 1), BlockStatus::kMiss);
}

TEST_F(DiskRecoveryTest, WhatDamageLeavesBehindDoesNotCountForEver) {
  {  // one sound block among damaged headers, and no checkpoint
    const auto tier = open();
    for (std::uint64_t i = 0; i < 8; ++i) EXPECT_EQ(put(**tier, i), BlockStatus::kOk);
  }
  std::filesystem::remove(path() + "/checkpoint");
  const int fd = ::open(segments()[0].c_str(), O_RDWR);
  for (std::uint64_t i = 1; i < 8; ++i) ASSERT_EQ(pwrite(fd, "damage", 6, static_cast<off_t>(i * kRecord)), 6);
  ::close(fd);
  const auto tier = open();
  EXPECT_EQ((*tier)->stats().blocks, 1u);
  struct stat info {};
  ASSERT_EQ(stat(segments()[0].c_str(), &info), 0);
  EXPECT_LE(static_cast<std::uint64_t>(info.st_blocks) * 512, 2 * kRecord);
}

// Every operation of a short life fails once, with each error: nothing wrong is ever read, and what was acknowledged
// before is there.
TEST_F(DiskRecoveryTest, AFailingDiskLosesNothingThatWasAcknowledged) {
  for (const int error : {EIO, ENOSPC}) {
    for (const bool tear : {false, true}) {
      for (std::int64_t after = 0; after < 24; ++after) {
        std::filesystem::remove_all(path());
        auto plan = std::make_shared<FaultyIo::Plan>(FaultyIo::Plan{error, after, tear});
        std::vector<BlockStatus> acknowledged;
        {
          const auto tier = open(100 * kRecord, std::make_unique<FaultyIo>(plan));
          ASSERT_TRUE(tier);
          for (std::uint64_t i = 0; i < 8; ++i) acknowledged.push_back(put(**tier, i));
          EXPECT_NE(std::ranges::find_if(acknowledged, [](BlockStatus s) { return s != BlockStatus::kOk; }),
                    acknowledged.end());
          plan->error = 0;  // the disk is well again
          EXPECT_EQ(put(**tier, 20), BlockStatus::kOk) << error << ' ' << after;
          for (std::uint64_t i = 0; i < 8; ++i) {
            EXPECT_EQ(get(**tier, i), acknowledged[i] == BlockStatus::kOk ? BlockStatus::kOk : BlockStatus::kMiss);
          }
        }
        const auto tier = open();
        for (std::uint64_t i = 0; i < 8; ++i) {
          if (acknowledged[i] != BlockStatus::kOk) continue;
          EXPECT_EQ(get(**tier, i), BlockStatus::kOk);
        }
        EXPECT_EQ(get(**tier, 20), BlockStatus::kOk);
      }
    }
  }
}

// A record of format version 1 at the beginning of a segment.
std::vector<std::byte> version_one() {
  return *read_file(std::string(CAIRN_SOURCE_DIR) + "/cairn/store/golden/segment_v1.seg", 1 << 20);
}

TEST_F(DiskRecoveryTest, ARecordOfAnotherVersionIsACountedMiss) {
  { (void)open(); }
  std::filesystem::remove(path() + "/checkpoint");
  std::vector<std::byte> segment = version_one();
  const std::uint64_t behind = segment.size();
  const RecordBytes ours = TestBlock{.number = 7}.record()->stamped(record_place(1, behind));
  segment.insert(segment.end(), ours.data(), ours.data() + ours.size());
  ASSERT_TRUE(write_file(path() + "/segments/00000001.seg", segment));
  for (const bool read_only : {true, false}) {
    const auto tier = open(100 * kRecord, nullptr, read_only);
    ASSERT_TRUE(tier) << tier.error().message;
    EXPECT_EQ(foreign_text((*tier)->stats()), "1 block has format version 1; this build reads version 2");
    EXPECT_EQ((*tier)->stats().blocks, 1u);
    EXPECT_EQ(get(**tier, 41), BlockStatus::kMiss);
    EXPECT_EQ((*tier)->what_became_of(test_key(41)), Gone::kForeign);
    EXPECT_EQ(get(**tier, 7), BlockStatus::kOk);
    EXPECT_EQ((*tier)->stats().corrupt, 0u);
  }
  const auto tier = open();  // the first that wrote has given its space back, and remembers it
  EXPECT_EQ((*tier)->stats().foreign, 0u);
  EXPECT_EQ((*tier)->what_became_of(test_key(41)), Gone::kForeign);
  EXPECT_EQ(get(**tier, 7), BlockStatus::kOk);
  EXPECT_EQ(put(**tier, 41), BlockStatus::kOk);
  EXPECT_EQ(get(**tier, 41), BlockStatus::kOk);
  EXPECT_EQ((*tier)->what_became_of(test_key(41)), Gone::kUnknown);
}

TEST_F(DiskRecoveryTest, AnIndexThatNamesARecordOfAnotherVersionIsNotBelieved) {
  { (void)open(); }
  const std::vector<std::byte> segment = version_one();
  ASSERT_TRUE(write_file(path() + "/segments/00000001.seg", segment));
  BlockMeta meta;
  meta.key = test_key(41);
  const Checkpoint checkpoint{.segment_ends = {{1, segment.size()}},
                              .blocks = {{.meta = meta, .segment = 1, .offset = 0, .bytes = segment.size()}}};
  ASSERT_TRUE(write_checkpoint(path() + "/checkpoint", checkpoint));
  const auto tier = open(100 * kRecord, nullptr, /*read_only=*/true);
  ASSERT_TRUE(tier) << tier.error().message;
  EXPECT_EQ(get(**tier, 41), BlockStatus::kMiss);
  EXPECT_EQ((*tier)->stats().foreign, 1u);
  EXPECT_EQ((*tier)->stats().foreign_version, 1u);
  EXPECT_EQ((*tier)->what_became_of(test_key(41)), Gone::kForeign);
  EXPECT_EQ((*tier)->stats().blocks, 0u);
}

// A process that writes is killed; what it said was written must be there. The pipe is its memory of that.
TEST_F(DiskRecoveryTest, KillingTheWriterLosesNothingThatWasAcknowledged) {
  const char* rounds_text = std::getenv("CAIRN_KILL_ROUNDS");
  const int rounds = rounds_text != nullptr ? std::atoi(rounds_text) : 12;
  SeededRandom random(42);
  std::uint64_t next = 0, acknowledged = 0, killed_early = 0;
  for (int round = 0; round < rounds; ++round) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
      ::close(ends[0]);
      DiskTierOptions options{.folder = path(), .residency = {.budget_bytes = 40 * kRecord}};
      options.segment_bytes = 8 * kRecord;
      options.min_free_bytes = 0;
      options.checkpoint_bytes = 5 * kRecord;
      options.io = make_disk_io(round % 2 == 0 ? DiskIoKind::kBest : DiskIoKind::kThreads);
      const auto tier = DiskTier::open(std::move(options));
      if (!tier) _exit(1);
      for (std::uint64_t i = next;; ++i) {
        if (put(**tier, i) == BlockStatus::kOk && ::write(ends[1], &i, sizeof i) != sizeof i) _exit(1);
      }
    }
    ::close(ends[1]);
    usleep(static_cast<useconds_t>(5000 + random.below(60000)));
    ASSERT_EQ(kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the writer ended by itself";
    std::vector<std::uint64_t> written;
    std::uint64_t number = 0;
    while (read(ends[0], &number, sizeof number) == sizeof number) written.push_back(number);
    ::close(ends[0]);
    killed_early += written.empty();
    acknowledged += written.size();
    if (!written.empty()) next = written.back() + 2;  // one more may have been on its way

    const auto tier = open(40 * kRecord);
    ASSERT_TRUE(tier) << tier.error().message;
    EXPECT_LE((*tier)->stats().bytes, 40 * kRecord);
    // Those that the budget cannot have evicted yet. LRU or not: the last ten of forty are among the youngest.
    std::uint64_t present = 0;
    for (const std::uint64_t i : written) {
      const BlockStatus got = get(**tier, i);
      EXPECT_TRUE(got == BlockStatus::kOk || got == BlockStatus::kMiss) << i << ' ' << block_status_name(got);
      present += got == BlockStatus::kOk;
    }
    EXPECT_GE(present, std::min<std::uint64_t>(written.size(), 39) / 2) << "round " << round;
    if (next < 40) {
      EXPECT_EQ(present, written.size()) << "nothing had to go yet";
    }
  }
  EXPECT_LT(killed_early, static_cast<std::uint64_t>(rounds));
  RecordProperty("acknowledged", std::to_string(acknowledged));
}

}  // namespace
}  // namespace cairn::disk
