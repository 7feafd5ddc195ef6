// SPDX-License-Identifier: Apache-2.0
// Computing while a store loads: the logits have the bits of a cold run, however slowly, unevenly or damaged the blocks
// come.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <thread>
#include <utility>

#include "cairn/engine/engine.h"
#include "cairn/testing/slow_tier.h"
#include "cairn/testing/tiny_engine.h"
#include "cairn/testing/tiny_model.h"

namespace cairn {
namespace {

constexpr std::size_t kPrompt = 1000;  // fifteen whole blocks and some

// A model that takes its time: some ten milliseconds for a block.
class SlowTap final : public KvTap {
 public:
  std::string name() const override { return "slow"; }
  void change(std::uint32_t layer, std::int32_t position, float*, float*) const override {
    if (layer == 0 && position % 8 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
};

class StoredArrival : public ::testing::TestWithParam<bool> {
 protected:
  StoredArrival() {
    auto slow = std::make_unique<SlowTier>();
    slow->reads = 4;  // of a block: its tokens and each of three layers
    tier_ = slow.get();
    tier_->by_parts = GetParam();
    StoreOptions options;
    options.tiers.push_back(std::move(slow));
    store_ = std::make_shared<Store>(std::move(options));
    cold_ = answer(*engine(store_)).logits;
    EXPECT_TRUE(store_->flush(deadline_in(std::chrono::seconds(20))));
  }
  std::unique_ptr<Engine> engine(std::shared_ptr<Store> store, bool break_even = true) const {
    EngineOptions options;
    options.threads = 2;
    options.kv_budget_bytes = std::size_t{64} << 20;
    options.store = std::move(store);
    options.break_even = break_even;
    return *load_tiny(model_, options);
  }
  struct Answer {
    std::vector<float> logits;
    std::size_t reused = 0;
  };
  Answer answer(Engine& engine) const {
    Sequence sequence = engine.open_while_loading(tokens_);
    const auto logits = engine.prefill(sequence, std::span(tokens_).subspan(sequence.size()));
    EXPECT_TRUE(logits);
    EXPECT_TRUE(std::ranges::equal(sequence.tokens(), tokens_));
    // What came from the store is in the index like what was computed.
    EXPECT_EQ(engine.open(tokens_).size(), kPrompt / kBlockTokens * kBlockTokens);
    return {{logits->begin(), logits->end()}, sequence.reused_tokens()};
  }
  void expect_cold(const Answer& answer) const {
    ASSERT_EQ(answer.logits.size(), cold_.size());
    EXPECT_EQ(std::memcmp(answer.logits.data(), cold_.data(), cold_.size() * sizeof(float)), 0);
  }

  const std::vector<std::byte> model_ = long_context_model();
  const std::vector<TokenId> tokens_ = random_prompt(11, kPrompt);
  std::shared_ptr<Store> store_;
  SlowTier* tier_ = nullptr;
  std::vector<float> cold_;
};

TEST_P(StoredArrival, EverythingComes) {
  tier_->per_block = std::chrono::milliseconds(1);
  const auto warm = engine(store_, /*break_even=*/false);
  const Answer got = answer(*warm);
  EXPECT_EQ(got.reused, 960u);
  expect_cold(got);
  EXPECT_EQ(warm->connector()->stats().blocks_loaded, 15u);
}

// In a server everybody waits for whoever opens a sequence.
TEST_P(StoredArrival, ATierThatHangsIsAMissBeforeLong) {
  tier_->hangs = true;
  const auto warm = engine(store_, /*break_even=*/false);
  const Answer got = answer(*warm);
  EXPECT_EQ(got.reused, 0u);
  expect_cold(got);
  EXPECT_GT(tier_->longest_wait_ms, 0);
  EXPECT_LE(tier_->longest_wait_ms, 500);
}

// Damage in each layer of early and late blocks: what lies before it is kept, the rest is computed anew.
TEST_P(StoredArrival, WhatLiesBeforeDamageIsKept) {
  for (const std::size_t block : {0u, 1u, 7u, 14u}) {
    for (const std::size_t part : {1u, 3u}) {
      SCOPED_TRACE("block " + std::to_string(block) + " part " + std::to_string(part));
      tier_->damage = {block, part};
      const std::size_t reports = tier_->reports;
      const auto warm = engine(store_, /*break_even=*/false);
      const Answer got = answer(*warm);
      EXPECT_EQ(got.reused, block * kBlockTokens);
      EXPECT_EQ(tier_->reports, reports + 1);
      expect_cold(got);
      tier_->damage.reset();  // written again by now
      ASSERT_TRUE(store_->flush(deadline_in(std::chrono::seconds(20))));
    }
  }
}

// The first prompt of a process knows no rates: what it sees while waiting makes it compute.
TEST_P(StoredArrival, AVerySlowFirstLoadIsOvertaken) {
  tier_->per_block = std::chrono::milliseconds(200);
  const auto fresh = engine(store_);
  const auto start = std::chrono::steady_clock::now();
  const Answer got = answer(*fresh);
  expect_cold(got);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(200) * 15);
  EXPECT_LT(got.reused, 960u);
}

// Loading about as fast as computing: once both rates are known the head is computed and the tail loaded.
TEST_P(StoredArrival, TheHeadIsComputedWhileTheTailLoads) {
  const SlowTap tap;
  EngineOptions options;
  options.threads = 2;
  options.kv_budget_bytes = std::size_t{64} << 20;
  options.store = store_;
  options.tap = &tap;
  const auto slow = *load_tiny(model_, options);
  const auto start = std::chrono::steady_clock::now();
  expect_cold(answer(*slow));
  const auto computing = std::chrono::steady_clock::now() - start;  // however slow the machine is
  ASSERT_TRUE(store_->flush(deadline_in(std::chrono::seconds(20))));
  tier_->per_block =
      std::chrono::duration_cast<std::chrono::microseconds>(0.6 * computing * kBlockTokens / double{kPrompt});
  std::set<std::size_t> reused;
  for (int round = 0; round < 4; ++round) {
    slow->cache().clear();
    const Answer got = answer(*slow);
    expect_cold(got);
    reused.insert(got.reused);
  }
  EXPECT_TRUE(std::ranges::any_of(reused, [](std::size_t tokens) { return tokens > 0 && tokens < 960; }))
      << ::testing::PrintToString(reused);
  EXPECT_GT(slow->connector()->stats().heads_computed, 0u);
}

// Only as many blocks as fit are taken; the cache's budget holds throughout.
TEST_P(StoredArrival, BlocksWithoutRoomAreComputed) {
  EngineOptions options;
  options.threads = 2;
  options.store = store_;
  options.break_even = false;
  options.kv_budget_bytes = engine(nullptr)->cache().bytes_for(kPrompt + kBlockTokens);
  const auto narrow = *load_tiny(model_, options);
  Sequence sequence = narrow->open_while_loading(tokens_);
  const auto logits = narrow->prefill(sequence, std::span(tokens_).subspan(sequence.size()));
  ASSERT_TRUE(logits) << logits.error().message;
  EXPECT_EQ(std::memcmp(logits->data(), cold_.data(), cold_.size() * sizeof(float)), 0);
  EXPECT_LE(narrow->cache().stats().high_water, options.kv_budget_bytes);
}

TEST_P(StoredArrival, ASequenceMayBeDroppedAtAnyTime) {
  tier_->per_block = std::chrono::milliseconds(2);
  const auto warm = engine(store_, /*break_even=*/false);
  { const Sequence unused = warm->open_while_loading(tokens_); }
  {
    Sequence joined = warm->open_while_loading(tokens_);
    while (joined.poll_load({.chunk = 256, .look = std::chrono::milliseconds(1)}) != LoadStep::kJoined) {
    }
    EXPECT_EQ(joined.load_state(), LoadState::kJoined);
    EXPECT_EQ(joined.size(), 960u);
  }
  {
    Sequence trimmed = warm->open_while_loading(tokens_);
    ASSERT_TRUE(trimmed.trim(0));
    EXPECT_EQ(trimmed.load_state(), LoadState::kNone);
  }
  expect_cold(answer(*warm));
}

INSTANTIATE_TEST_SUITE_P(Orders, StoredArrival, ::testing::Bool(),
                         [](const auto& by_parts) { return by_parts.param ? "PartByPart" : "BlockByBlock"; });

}  // namespace
}  // namespace cairn
