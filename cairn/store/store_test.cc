// SPDX-License-Identifier: Apache-2.0
// The stack: deadlines, write-behind, promotion, tiers that do not answer.
#include "cairn/store/store.h"

#include <gtest/gtest.h>

#include <thread>

#include "cairn/store/ram_tier.h"
#include "cairn/testing/stored_blocks.h"

namespace cairn {
namespace {

using std::chrono::milliseconds;

// A tier in memory that takes its time or does not answer at all.
class SlowTier final : public Tier {
 public:
  std::atomic<int> delay_ms{0};
  std::atomic<int> gets{0};
  std::unique_ptr<RamTier> inner = *RamTier::create({.budget_bytes = 1 << 24});

  void sleep(Deadline deadline) const {
    std::this_thread::sleep_until(std::min(deadline, deadline_in(milliseconds(delay_ms))));
  }
  std::string name() const override { return "slow"; }
  bool durable() const override { return true; }
  std::vector<BlockStatus> contains(std::span<const Digest> keys, Deadline deadline) override {
    return inner->contains(keys, deadline);
  }
  void get(std::span<const Digest> keys, Deadline deadline, const GetSink& sink) override {
    ++gets;
    sleep(deadline);
    if (passed(deadline)) {
      for (std::size_t i = 0; i < keys.size(); ++i) sink(i, BlockStatus::kTimeout, nullptr);
      return;
    }
    inner->get(keys, deadline, sink);
  }
  std::vector<BlockStatus> put(std::span<const std::shared_ptr<const BlockRecord>> records,
                               Deadline deadline) override {
    sleep(deadline);
    return inner->put(records, deadline);
  }
  std::vector<BlockStatus> replace(std::span<const std::shared_ptr<const BlockRecord>> records, Deadline d) override {
    return inner->replace(records, d);
  }
  std::vector<BlockStatus> erase(std::span<const Digest> keys, Deadline d) override { return inner->erase(keys, d); }
  BlockStatus pin(const Digest& key, std::int64_t until) override { return inner->pin(key, until); }
  void report_corrupt(const Digest& key) override { inner->report_corrupt(key); }
  Status list(const std::function<bool(const StoredBlock&)>& v, Deadline d) override { return inner->list(v, d); }
  void describe_recipe(const Digest& r, const std::string& t) override { inner->describe_recipe(r, t); }
  std::map<Digest, std::string> recipes() override { return inner->recipes(); }
  TierStats stats() const override { return inner->stats(); }
};

struct Stack {
  RamTier* ram;
  SlowTier* slow;
  std::unique_ptr<Store> store;

  explicit Stack(std::size_t queue_bytes = 1 << 20) {
    StoreOptions options;
    auto fast = *RamTier::create({.budget_bytes = 1 << 24});
    auto below = std::make_unique<SlowTier>();
    ram = fast.get();
    slow = below.get();
    options.tiers.push_back(std::move(fast));
    options.tiers.push_back(std::move(below));
    options.queue_bytes = queue_bytes;
    options.write_deadline = milliseconds(2000);
    options.rest = milliseconds(1500);
    store = std::make_unique<Store>(std::move(options));
  }
  bool write(std::uint64_t number) {
    const TestBlock block{.number = number};
    const auto contents = block.contents();
    const std::vector<std::span<const std::byte>> spans(contents.begin(), contents.end());
    return store->write(block.record()->meta(), spans);
  }
  void put_below(std::uint64_t number) {
    const auto record = TestBlock{.number = number}.record();
    slow->inner->put({&record, 1}, Deadline::max());
  }
};

std::vector<Digest> keys_of(std::initializer_list<std::uint64_t> numbers) {
  std::vector<Digest> keys;
  for (const std::uint64_t number : numbers) keys.push_back(test_key(number));
  return keys;
}

Deadline soon() {
  return deadline_in(std::chrono::seconds(20));
}

TEST(Store, WritesReachAllTiers) {
  Stack stack;
  for (std::uint64_t i = 0; i < 20; ++i) EXPECT_TRUE(stack.write(i));
  ASSERT_TRUE(stack.store->flush(soon()));
  EXPECT_EQ(stack.ram->stats().blocks, 20u);
  EXPECT_EQ(stack.slow->stats().blocks, 20u);
}

TEST(Store, APrefixEndsAtTheFirstMiss) {
  Stack stack;
  for (const std::uint64_t i : {0, 1, 2, 4, 5}) stack.put_below(i);
  EXPECT_EQ(stack.store->locate(keys_of({0, 1, 2, 3, 4}), soon()), (std::vector<std::size_t>{1, 1, 1}));
  const auto load = stack.store->load(keys_of({0, 1, 2, 3, 4, 5}), soon());
  for (std::uint64_t i = 0; i < 3; ++i) {
    const LoadedBlock block = load->wait(i);
    ASSERT_EQ(block.status, BlockStatus::kOk);
    EXPECT_EQ(block.tier, 1u);
    EXPECT_TRUE(TestBlock{.number = i}.equals(*block.record));
  }
  for (std::uint64_t i = 3; i < 6; ++i) EXPECT_EQ(load->wait(i).status, BlockStatus::kMiss);
}

TEST(Store, WhatIsFoundBelowIsPromoted) {
  Stack stack;
  stack.put_below(1);
  EXPECT_EQ(stack.store->load(keys_of({1}), soon())->wait(0).tier, 1u);
  ASSERT_TRUE(stack.store->flush(soon()));
  EXPECT_EQ(stack.store->load(keys_of({1}), soon())->wait(0).tier, 0u);
  EXPECT_EQ(stack.store->stats().promotions, 1u);
}

TEST(Store, AWaitEndsAtItsDeadlineAndTheTierRests) {
  Stack stack;
  stack.put_below(1);
  stack.slow->delay_ms = 5000;
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(stack.store->load(keys_of({1}), deadline_in(milliseconds(150)))->wait(0).status, BlockStatus::kTimeout);
  EXPECT_LT(std::chrono::steady_clock::now() - start, milliseconds(2500));
  std::this_thread::sleep_for(milliseconds(60));  // the tier's own answer comes at the deadline too
  const int gets = stack.slow->gets;
  EXPECT_NE(stack.store->load(keys_of({1}), soon())->wait(0).status, BlockStatus::kOk);
  EXPECT_EQ(stack.slow->gets, gets) << "a resting tier was asked";
  stack.slow->delay_ms = 0;
  std::this_thread::sleep_for(milliseconds(1600));
  EXPECT_EQ(stack.store->load(keys_of({1}), soon())->wait(0).status, BlockStatus::kOk) << "it is probed again";
}

TEST(Store, AFullQueueDropsWritesInsteadOfWaiting) {
  Stack stack(/*queue_bytes=*/5 * 8192);
  stack.slow->delay_ms = 1500;
  std::size_t taken = 0;
  const auto start = std::chrono::steady_clock::now();
  for (std::uint64_t i = 0; i < 50; ++i) taken += stack.write(i);
  EXPECT_LT(std::chrono::steady_clock::now() - start, milliseconds(1200));
  EXPECT_LT(taken, 50u);
  stack.slow->delay_ms = 0;
  ASSERT_TRUE(stack.store->flush(soon()));
  EXPECT_EQ(stack.slow->stats().blocks, taken);
  EXPECT_EQ(stack.store->stats().writes_dropped, 50 - taken);
}

TEST(Store, DamageInOneTierIsReadFromTheNext) {
  Stack stack;
  EXPECT_TRUE(stack.write(1));
  ASSERT_TRUE(stack.store->flush(soon()));
  LoadedBlock block = stack.store->load(keys_of({1}), soon())->wait(0);
  RecordBytes bytes = block.record->stamped(0);
  bytes.data()[4096 + 300] ^= std::byte{1};
  block.record = *BlockRecord::parse(std::move(bytes), 0);
  std::vector<std::byte> out(1000);
  EXPECT_FALSE(stack.store->copy_part(block, 1, out));
  const LoadedBlock again = stack.store->load(keys_of({1}), soon())->wait(0);
  ASSERT_EQ(again.status, BlockStatus::kOk);
  EXPECT_EQ(again.tier, 1u);
  EXPECT_EQ(stack.ram->stats().corrupt, 1u);
  EXPECT_TRUE(TestBlock{.number = 1}.equals(*again.record));
}

TEST(Store, DamageBelowDoesNotRise) {
  Stack stack;
  const TestBlock block{.number = 1};
  RecordBytes bytes = block.record()->stamped(0);
  bytes.data()[4096 + 300] ^= std::byte{1};
  const std::shared_ptr<const BlockRecord> damaged = *BlockRecord::parse(std::move(bytes), 0);
  ASSERT_EQ(stack.slow->put({&damaged, 1}, soon())[0], BlockStatus::kOk);
  EXPECT_EQ(stack.store->load(keys_of({1}), soon())->wait(0).status, BlockStatus::kOk);
  ASSERT_TRUE(stack.store->flush(soon()));
  EXPECT_EQ(stack.ram->stats().blocks, 0u);
  EXPECT_EQ(stack.slow->stats().corrupt, 1u);
  EXPECT_TRUE(stack.write(1));
  ASSERT_TRUE(stack.store->flush(soon()));
  EXPECT_EQ(stack.slow->stats().blocks, 1u);
}

// The prefix ends at the first damaged block, so nobody reads the others; those that are computed anew replace them.
TEST(Store, OneRunRepairsAllDamageInItsWay) {
  Stack stack;
  for (const std::uint64_t number : {1, 2, 3, 4}) {
    RecordBytes bytes = TestBlock{.number = number}.record()->stamped(0);
    if (number != 3) bytes.data()[4096 + 300] ^= std::byte{1};
    const std::shared_ptr<const BlockRecord> record = *BlockRecord::parse(std::move(bytes), 0);
    ASSERT_EQ(stack.slow->put({&record, 1}, soon())[0], BlockStatus::kOk);
  }
  EXPECT_EQ(stack.store->load(keys_of({1}), soon())->wait(0).status, BlockStatus::kOk);
  ASSERT_TRUE(stack.store->flush(soon()));
  ASSERT_EQ(stack.slow->stats().corrupt, 1u) << "found when it was to rise into memory";
  for (const std::uint64_t number : {1, 2, 3, 4}) EXPECT_TRUE(stack.write(number));
  ASSERT_TRUE(stack.store->flush(soon()));
  EXPECT_EQ(stack.slow->stats().corrupt, 3u);
  stack.slow->get(keys_of({1, 2, 3, 4}), soon(), [](std::size_t i, BlockStatus status, const auto& record) {
    ASSERT_EQ(status, BlockStatus::kOk);
    EXPECT_TRUE(TestBlock{.number = i + 1}.equals(*record));
  });
}

}  // namespace
}  // namespace cairn
