// SPDX-License-Identifier: Apache-2.0
// Replacing records on a disk that fails, in a process that is killed, beside one that reads.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "cairn/base/checksum.h"
#include "cairn/base/file.h"
#include "cairn/store/disk/disk_tier.h"
#include "cairn/store/disk/recovery.h"
#include "cairn/store/record/compression.h"
#include "cairn/testing/faulty_io.h"
#include "cairn/testing/stored_blocks.h"

namespace cairn::disk {
namespace {

constexpr std::uint64_t kPlain = 28672, kSegment = 5 * kPlain;

Deadline soon() {
  return deadline_in(std::chrono::seconds(20));
}

TestBlock block(std::uint64_t number) {
  return {.number = number, .part_bytes = {256, 11000, 11000}, .dull = true};
}

std::shared_ptr<const BlockRecord> compressed(std::uint64_t number) {
  return *compress_record(*block(number).record(), 3);
}

class DiskReplaceTest : public testing::Test {
 protected:
  std::unique_ptr<DiskTier> open(std::shared_ptr<FaultyIo::Plan> plan = nullptr) {
    DiskTierOptions options{.folder = path(), .residency = {.budget_bytes = 100 * kPlain}};
    options.segment_bytes = kSegment;
    options.min_free_bytes = 0;
    options.sync = false;  // a replacement synchronises all the same
    if (plan != nullptr) options.io = std::make_unique<FaultyIo>(std::move(plan));
    auto tier = DiskTier::open(std::move(options));
    EXPECT_TRUE(tier) << (tier ? "" : tier.error().message);
    return *std::move(tier);
  }
  std::string path() const { return folder_.path() + "/store"; }
  static BlockStatus put(Tier& tier, std::uint64_t number) {
    const auto record = block(number).record();
    return tier.put({&record, 1}, soon())[0];
  }
  static BlockStatus compress(Tier& tier, std::uint64_t number) {
    const auto record = compressed(number);
    return tier.replace({&record, 1}, soon())[0];
  }
  static BlockStatus get(Tier& tier, std::uint64_t number) {
    BlockStatus result = BlockStatus::kBroken;
    const Digest key = test_key(number);
    tier.get({&key, 1}, soon(), [&](std::size_t, BlockStatus status, std::shared_ptr<const BlockRecord> record) {
      const bool right = status != BlockStatus::kOk || block(number).equals(*record);
      result = right ? status : BlockStatus::kCorrupt;
    });
    return result;
  }
  std::string segment(int number) const {
    char name[32];
    std::snprintf(name, sizeof name, "/segments/%08x.seg", number);
    return path() + name;
  }
  // Beyond the blocks, a file in pieces takes a page for the list of these.
  bool wastes_nothing(const Tier& tier) const {
    std::uint64_t bytes = 0, files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(path() + "/segments")) {
      struct stat info {};
      if (stat(entry.path().c_str(), &info) == 0) bytes += static_cast<std::uint64_t>(info.st_blocks) * 512;
      ++files;
    }
    return bytes >= tier.stats().bytes && bytes <= tier.stats().bytes + kDirectIoPage * files;
  }
  TestFolder folder_;
};

TEST_F(DiskReplaceTest, GivesTheSpaceBackAndIsThereAfterARestart) {
  ASSERT_EQ(block(1).record()->size(), kPlain);
  ASSERT_LT(compressed(1)->size(), kPlain);
  {
    const auto tier = open();
    for (std::uint64_t i = 0; i < 12; ++i) EXPECT_EQ(put(*tier, i), BlockStatus::kOk);
    EXPECT_EQ(tier->pin(test_key(3), unix_seconds() + 1000), BlockStatus::kOk);
    for (std::uint64_t i = 0; i < 8; ++i) EXPECT_EQ(compress(*tier, i), BlockStatus::kOk);
    EXPECT_TRUE(wastes_nothing(*tier));
  }
  for (const bool checkpoint : {true, false}) {
    if (!checkpoint) std::filesystem::remove(path() + "/checkpoint");
    const auto tier = open();
    EXPECT_EQ(tier->stats().blocks, 12u);
    for (std::uint64_t i = 0; i < 12; ++i) EXPECT_EQ(get(*tier, i), BlockStatus::kOk) << i;
    EXPECT_TRUE(tier->list(
        [&](const StoredBlock& listed) {
          const bool small = listed.bytes < kPlain;
          EXPECT_EQ(listed.meta.compressed, small);
          if (checkpoint) {
            EXPECT_EQ(listed.pinned_until_s != 0, listed.meta.key == test_key(3));
          }
          return true;
        },
        soon()));
    EXPECT_TRUE(wastes_nothing(*tier));
  }
}

TEST_F(DiskReplaceTest, NeedsRoomForBoth) {
  DiskTierOptions options{.folder = path(), .residency = {.budget_bytes = 2 * kPlain}};
  options.min_free_bytes = 0;
  const auto tier = *DiskTier::open(std::move(options));
  EXPECT_EQ(put(*tier, 1), BlockStatus::kOk);
  EXPECT_EQ(put(*tier, 2), BlockStatus::kOk);
  EXPECT_EQ(compress(*tier, 1), BlockStatus::kFull);
  EXPECT_EQ(get(*tier, 1), BlockStatus::kOk);
  EXPECT_EQ(get(*tier, 2), BlockStatus::kOk) << "nobody is evicted for it";
}

// Every operation of a replacement fails once, torn or not: the block is there, now and after a restart.
TEST_F(DiskReplaceTest, AFailingDiskLosesNothing) {
  for (const int error : {EIO, ENOSPC}) {
    for (const bool tear : {false, true}) {
      for (std::int64_t after = 0; after < 12; ++after) {
        std::filesystem::remove_all(path());
        auto plan = std::make_shared<FaultyIo::Plan>();
        {
          const auto tier = open(plan);
          for (std::uint64_t i = 0; i < 4; ++i) EXPECT_EQ(put(*tier, i), BlockStatus::kOk);
          *plan = {.error = error, .after = after, .tear = tear};
          for (std::uint64_t i = 0; i < 4; ++i) (void)compress(*tier, i);
          plan->error = 0;
          for (std::uint64_t i = 0; i < 4; ++i) EXPECT_EQ(get(*tier, i), BlockStatus::kOk) << after;
          EXPECT_EQ(compress(*tier, 3), BlockStatus::kOk);
        }
        if (after % 2 == 0) std::filesystem::remove(path() + "/checkpoint");
        const auto tier = open();
        for (std::uint64_t i = 0; i < 4; ++i) EXPECT_EQ(get(*tier, i), BlockStatus::kOk) << after;
        EXPECT_TRUE(wastes_nothing(*tier));
      }
    }
  }
}

// As after a crash before the old space was given back: both records are there, and either may be damaged.
TEST_F(DiskReplaceTest, OfTwoRecordsOfABlockASoundOneIsTaken) {
  for (const int damage : {0, 1, 2}) {  // none, the old one, the new one
    for (const bool checkpoint : {false, true}) {
      std::filesystem::remove_all(path());
      auto plan = std::make_shared<FaultyIo::Plan>();
      plan->keep_holes = true;
      {
        const auto tier = open(plan);
        for (std::uint64_t i = 0; i < 5; ++i) EXPECT_EQ(put(*tier, i), BlockStatus::kOk);  // a segment full
        EXPECT_EQ(tier->pin(test_key(2), unix_seconds() + 1000), BlockStatus::kOk);
        std::filesystem::remove(path() + "/checkpoint");
      }
      std::filesystem::copy_file(path() + "/checkpoint", path() + "/before");
      {
        const auto tier = open(plan);
        for (std::uint64_t i = 0; i < 4; ++i) EXPECT_EQ(compress(*tier, i), BlockStatus::kOk);
      }
      std::filesystem::remove(path() + "/checkpoint");
      if (checkpoint) std::filesystem::copy_file(path() + "/before", path() + "/checkpoint");
      std::filesystem::remove(path() + "/before");
      const std::uint64_t step = damage == 2 ? compressed(2)->size() : kPlain;
      const int fd = ::open(segment(damage == 2 ? 2 : 1).c_str(), O_RDWR);
      ASSERT_GE(fd, 0);
      if (damage != 0) {  // the payload of block 2, as a hole that was made in part
        ASSERT_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(2 * step + 4096), 8192),
                  0);
      }
      ::close(fd);
      for (int again = 0; again < 2; ++again) {
        const auto tier = open();
        EXPECT_EQ(tier->stats().blocks, 5u);
        for (std::uint64_t i = 0; i < 5; ++i) EXPECT_EQ(get(*tier, i), BlockStatus::kOk) << i << ' ' << damage;
        EXPECT_TRUE(wastes_nothing(*tier)) << "the other ones are given back";
        std::vector<StoredBlock> pinned;
        EXPECT_TRUE(tier->list(
            [&](const StoredBlock& listed) {
              if (listed.pinned_until_s != 0) pinned.push_back(listed);
              return true;
            },
            soon()));
        EXPECT_EQ(pinned.size(), checkpoint ? 1u : 0u);
      }
    }
  }
}

TEST_F(DiskReplaceTest, AReaderInAnotherProcessFollows) {
  const auto writer = open();
  for (std::uint64_t i = 0; i < 6; ++i) EXPECT_EQ(put(*writer, i), BlockStatus::kOk);
  const auto reader = open();
  ASSERT_FALSE(reader->writes());
  EXPECT_EQ(reader->stats().blocks, 6u);
  EXPECT_EQ(get(*reader, 0), BlockStatus::kOk);
  EXPECT_EQ(compress(*reader, 0), BlockStatus::kReadOnly);
  for (std::uint64_t i = 0; i < 6; ++i) {
    EXPECT_EQ(compress(*writer, i), BlockStatus::kOk);
    EXPECT_EQ(get(*reader, i), BlockStatus::kOk) << "at once, whenever it looked last";
  }
  EXPECT_EQ(reader->stats().blocks, 6u);
  // One that was replaced while its parts were being read comes out damaged, and is found the next time.
  EXPECT_EQ(put(*writer, 7), BlockStatus::kOk);
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  const Digest seventh = test_key(7);
  std::shared_ptr<const BlockRecord> record;
  const auto reads =
      reader->get_by_parts({&seventh, 1}, soon(), [&](auto, auto, auto got) { record = std::move(got); });
  ASSERT_NE(record, nullptr);
  EXPECT_EQ(compress(*writer, 7), BlockStatus::kOk);
  reads->read_to(3, [](std::size_t, BlockStatus) {});
  EXPECT_FALSE(block(7).equals(*record));
  reader->report_corrupt(seventh);
  EXPECT_EQ(get(*reader, 7), BlockStatus::kOk);
  const Digest gone = test_key(1);
  (void)writer->erase({&gone, 1}, soon());
  EXPECT_EQ(get(*reader, 1), BlockStatus::kMiss);
}

// What it names has a record version that this build does not read.
TEST_F(DiskReplaceTest, PassesOverTheCheckpointOfAnOlderBuild) {
  {
    const auto tier = open();
    for (std::uint64_t i = 0; i < 3; ++i) EXPECT_EQ(put(*tier, i), BlockStatus::kOk);
  }
  const std::string file = path() + "/checkpoint";
  for (const int version : {1, 2, 4}) {
    auto bytes = *read_file(file, 1 << 20);
    bytes.resize(bytes.size() - 8);
    bytes[8] = static_cast<std::byte>(version);
    const std::uint64_t sum = checksum(bytes);
    bytes.resize(bytes.size() + sizeof sum);
    std::memcpy(bytes.data() + bytes.size() - sizeof sum, &sum, sizeof sum);
    ASSERT_TRUE(write_file(file, bytes));
    EXPECT_EQ(read_checkpoint(file).error().code, ErrorCode::kUnsupported);
    const auto tier = open();
    EXPECT_EQ(tier->stats().note.find("damaged"), std::string::npos) << tier->stats().note;
    EXPECT_EQ(tier->stats().blocks, 3u);
    for (std::uint64_t i = 0; i < 3; ++i) EXPECT_EQ(get(*tier, i), BlockStatus::kOk);
  }
}

// A process that replaces is killed at any moment: every block is there afterwards, in one form or the other.
TEST_F(DiskReplaceTest, KillingTheProcessLosesNoBlock) {
  constexpr std::uint64_t kBlocks = 12;
  const char* rounds_text = std::getenv("CAIRN_KILL_ROUNDS");
  const int rounds = rounds_text != nullptr ? std::atoi(rounds_text) : 12;
  SeededRandom random(7);
  std::vector<std::shared_ptr<const BlockRecord>> plain, small;
  for (std::uint64_t i = 0; i < kBlocks; ++i) {
    plain.push_back(block(i).record());
    small.push_back(compressed(i));
  }
  for (int round = 0; round < rounds; ++round) {
    std::filesystem::remove_all(path());
    {
      const auto tier = open();
      EXPECT_EQ(tier->put(plain, soon()), std::vector(kBlocks, BlockStatus::kOk));
    }
    if (round % 3 == 0) std::filesystem::remove(path() + "/checkpoint");
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
      const auto tier = open();
      if (::write(ends[1], "x", 1) != 1) _exit(1);
      for (std::size_t i = 0;; i = (i + 1) % kBlocks) (void)tier->replace({&small[i], 1}, soon());
    }
    char begun;
    ASSERT_EQ(read(ends[0], &begun, 1), 1);
    usleep(static_cast<useconds_t>(random.below(20000)));
    ASSERT_EQ(kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ::close(ends[0]);
    ::close(ends[1]);
    const auto tier = open();
    EXPECT_EQ(tier->stats().blocks, kBlocks);
    for (std::uint64_t i = 0; i < kBlocks; ++i) EXPECT_EQ(get(*tier, i), BlockStatus::kOk) << round << ' ' << i;
    EXPECT_TRUE(wastes_nothing(*tier));
  }
}

}  // namespace
}  // namespace cairn::disk
