// SPDX-License-Identifier: Apache-2.0
// Long runs in a short form; `make torture` runs them in full.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <thread>

#include "cairn/store/disk/disk_tier.h"
#include "cairn/store/ram_tier.h"
#include "cairn/store/store.h"
#include "cairn/testing/stored_blocks.h"

namespace cairn {
namespace {

constexpr std::uint64_t kRecord = 8192;

std::int64_t from_environment(const char* name, std::int64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::atoll(text);
}

DiskTierOptions small_disk(const std::string& folder) {
  DiskTierOptions options{.folder = folder, .residency = {.budget_bytes = 200 * kRecord}};
  options.segment_bytes = 16 * kRecord;
  options.min_free_bytes = 0;
  options.checkpoint_bytes = 30 * kRecord;
  return options;
}

std::size_t resident_bytes() {
  std::size_t pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

// Exit status of a reader: 0 when all it saw were right blocks and misses.
int read_for(const std::string& folder, std::uint64_t seed, std::chrono::milliseconds time) {
  DiskTierOptions options = small_disk(folder);
  options.read_only = true;
  options.io = disk::make_disk_io(disk::DiskIoKind::kThreads);
  const auto tier = DiskTier::open(std::move(options));
  if (!tier) return 2;
  SeededRandom random(seed);
  const Deadline end = deadline_in(time);
  bool wrong = false;
  std::uint64_t hits = 0;
  while (!passed(end)) {
    const TestBlock block{.number = random.below(600)};
    const Digest key = test_key(block.number);
    (*tier)->get({&key, 1}, Deadline::max(),
                 [&](std::size_t, BlockStatus status, std::shared_ptr<const BlockRecord> record) {
                   wrong |= status == BlockStatus::kOk && record->intact() && !block.equals(*record);
                   wrong |= status != BlockStatus::kOk && status != BlockStatus::kMiss;
                   hits += status == BlockStatus::kOk && record->intact();
                 });
  }
  return wrong ? 1 : hits == 0 ? 3 : 0;
}

TEST(StoreTorture, ManyProcessesReadWhileOneWrites) {
  const std::int64_t readers = from_environment("CAIRN_READERS", 8);
  const std::chrono::milliseconds time(readers > 8 ? 10000 : 700);
  const TestFolder folder;
  const std::string path = folder.path() + "/store";
  std::vector<pid_t> children;
  {
    const auto tier = DiskTier::open(small_disk(path));
    ASSERT_TRUE(tier);
    for (std::uint64_t i = 0; i < 100; ++i) {
      const auto record = TestBlock{.number = i}.record();
      ASSERT_EQ((*tier)->put({&record, 1}, Deadline::max())[0], BlockStatus::kOk);
    }
  }
  for (std::int64_t r = 0; r < readers; ++r) {
    const pid_t child = fork();
    if (child == 0) _exit(read_for(path, static_cast<std::uint64_t>(r), time));
    children.push_back(child);
  }
  const auto writer = DiskTier::open(small_disk(path));
  ASSERT_TRUE(writer);
  ASSERT_TRUE((*writer)->writes());
  SeededRandom random(99);
  const Deadline end = deadline_in(time);
  while (!passed(end)) {
    const auto record = TestBlock{.number = random.below(600)}.record();
    EXPECT_EQ((*writer)->put({&record, 1}, Deadline::max())[0], BlockStatus::kOk);
    if (random.below(10) == 0) {
      const Digest gone = test_key(random.below(600));
      (*writer)->erase({&gone, 1}, Deadline::max());
    }
  }
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0) << "1: wrong bytes, 2: not opened, 3: never a hit";
  }
}

TEST(StoreTorture, SoakingLeaksNothingAndReturnsNothingWrong) {
  const std::int64_t seconds = from_environment("CAIRN_SOAK_SECONDS", 2);
  const TestFolder folder;
  StoreOptions options;
  options.tiers.push_back(*RamTier::create({.budget_bytes = 40 * kRecord}));
  options.tiers.push_back(*DiskTier::open(small_disk(folder.path() + "/store")));
  options.queue_bytes = 64 * kRecord;
  Store store(std::move(options));
  std::atomic<std::uint64_t> wrong = 0, hits = 0, operations = 0;
  const Deadline end = deadline_in(std::chrono::seconds(seconds));
  const Deadline settled = deadline_in(std::chrono::seconds(std::max<std::int64_t>(1, seconds / 10)));
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      SeededRandom random(t);
      while (!passed(end)) {
        ++operations;
        const std::uint64_t first = random.below(800);
        if (random.below(3) == 0) {
          const TestBlock block{.number = first};
          const auto contents = block.contents();
          const std::vector<std::span<const std::byte>> spans(contents.begin(), contents.end());
          store.write(block.record()->meta(), spans);
          continue;
        }
        std::vector<Digest> keys;
        for (std::uint64_t i = 0; i < 4; ++i) keys.push_back(test_key(first + i));
        const auto load = store.load(keys, deadline_in(std::chrono::milliseconds(random.below(50))));
        for (std::size_t i = 0; i < keys.size(); ++i) {
          const LoadedBlock block = load->wait(i);
          if (block.status != BlockStatus::kOk) break;
          ++hits;
          wrong += !TestBlock{.number = first + i}.equals(*block.record);
        }
      }
    });
  }
  while (!passed(settled)) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const std::size_t before = resident_bytes();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0u);
  EXPECT_GT(hits, 0u);
  EXPECT_LT(resident_bytes(), before + (std::size_t{96} << 20)) << "memory grows: " << operations << " operations";
  for (const StoreStats::PerTier& tier : store.stats().tiers) EXPECT_LE(tier.stats.bytes, tier.stats.budget);
}

}  // namespace
}  // namespace cairn
