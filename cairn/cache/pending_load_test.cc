// SPDX-License-Identifier: Apache-2.0
// Blocks on their way from a store into a sequence: when they join, what happens to those that do not come, and what
// helps after a pass failed. Whatever happens, what is computed afterwards has the bits of a sequence without a store.
#include "cairn/cache/pending_load.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <numeric>
#include <utility>

#include "cairn/testing/passes.h"
#include "cairn/testing/slow_tier.h"

namespace cairn::pass_test {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kTokens = 200, kWhole = 3 * kBlockTokens;

class PendingLoadTest : public PassTest {
 protected:
  PendingLoadTest() {
    layers_ = like_layers(2, {.kv_heads = 4, .head_dim = 128});  // pages so large that each is a read of its own
    auto slow = std::make_unique<SlowTier>();
    tier_ = slow.get();
    tier_->by_parts = true;
    StoreOptions options;
    options.tiers.push_back(std::move(slow));
    store_ = std::make_shared<Store>(std::move(options));
    std::iota(prompt_.begin(), prompt_.end(), 0);
    const auto first = cache();
    Sequence sequence = first->open({});
    expected_ = compute(sequence, following(0, kTokens));
    EXPECT_TRUE(store_->flush(deadline_in(std::chrono::seconds(20))));
  }
  ~PendingLoadTest() override { open_gate(); }
  void open_gate() {
    tier_->gate = true;
    tier_->gate.notify_all();
  }
  std::unique_ptr<KvCache> cache(milliseconds max_wait = milliseconds(10000)) {
    connector_ = std::make_shared<KvConnector>(KvConnectorOptions{
        .store = store_, .recipe = {}, .recipe_text = "test", .tenant = "", .max_wait = max_wait, .break_even = false});
    return make_cache(layers_, "raw_f32", /*index=*/true, connector_);
  }
  static LoadStep wait(Sequence& sequence, bool whole = false) {
    LoadStep step = LoadStep::kWait;
    while (step == LoadStep::kWait) step = sequence.poll_load({.chunk = 64, .look = milliseconds(1), .whole = whole});
    return step;
  }
  // A pass over the next tokens, which gets as far as the blocks before them are there, and is let go of.
  Status attempt(Sequence& sequence, std::size_t count) {
    std::vector<std::int32_t> positions(count);
    std::iota(positions.begin(), positions.end(), static_cast<std::int32_t>(sequence.size()));
    const PassRows rows{&sequence, positions};
    CAIRN_TRY(Pass pass, passes_.begin({&rows, 1}));
    const std::vector<float> zeros(count * kHeads * 128);
    std::vector<float> out(zeros.size());
    std::vector<std::uint32_t> all(count);
    std::iota(all.begin(), all.end(), 0u);
    for (std::uint32_t l = 0; l < layers_.size(); ++l) {
      pass.append(l, zeros.data(), zeros.data());
      CAIRN_TRY_VOID(pass.attend({.layer = l, .rows = all, .q = zeros.data(), .out = out.data()}));
    }
    return {};
  }
  // The rest of the prompt.
  void expect_rest(Sequence& sequence) {
    expect_same(compute(sequence, following(sequence.size(), kTokens - sequence.size())), expected_);
    EXPECT_TRUE(std::ranges::equal(sequence.tokens(), prompt_));
    EXPECT_TRUE(sequence.intact());
  }

  std::shared_ptr<Store> store_;
  SlowTier* tier_ = nullptr;
  std::shared_ptr<KvConnector> connector_;
  std::vector<TokenId> prompt_ = std::vector<TokenId>(kTokens);
  Outputs expected_;
};

TEST_F(PendingLoadTest, JoinedBlocksAreInTheIndexOnceAPassOnThemIsCommitted) {
  const auto kv = cache();
  Sequence sequence = kv->open_while_loading(prompt_);
  EXPECT_EQ(sequence.load_state(), LoadState::kOnTheWay);
  EXPECT_EQ(sequence.size(), 0u);
  EXPECT_EQ(wait(sequence), LoadStep::kJoined);
  EXPECT_EQ(sequence.load_state(), LoadState::kJoined);
  EXPECT_EQ(sequence.size(), kWhole);
  EXPECT_EQ(sequence.reused_tokens(), kWhole);
  EXPECT_EQ(kv->stats().index.blocks, 0u);
  EXPECT_EQ(connector_->stats().blocks_loaded, 0u);
  EXPECT_TRUE(attempt(sequence, 8));  // let go of: nothing has changed
  EXPECT_EQ(sequence.load_state(), LoadState::kJoined);
  expect_rest(sequence);
  EXPECT_EQ(sequence.load_state(), LoadState::kNone);
  EXPECT_EQ(sequence.poll_load({}), LoadStep::kNone);
  EXPECT_EQ(kv->stats().index.blocks, 3u);
  EXPECT_EQ(connector_->stats().blocks_loaded, 3u);
  EXPECT_EQ(kv->open(prompt_).size(), kWhole);
}

TEST_F(PendingLoadTest, WholeBlocksAreWaitedForOnlyWhereThatIsAskedFor) {
  tier_->gate = false;  // tokens come, pages do not
  const auto kv = cache();
  Sequence whole = kv->open_while_loading(prompt_);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(whole.poll_load({.chunk = 64, .look = milliseconds(30), .whole = true}), LoadStep::kWait);
  }
  EXPECT_EQ(whole.size(), 0u);
  EXPECT_EQ(whole.poll_load({.chunk = 64, .look = milliseconds(30)}), LoadStep::kJoined);
  EXPECT_EQ(whole.size(), kWhole);
  open_gate();
  expect_rest(whole);

  kv->clear();
  Sequence again = kv->open_while_loading(prompt_);
  EXPECT_EQ(wait(again, /*whole=*/true), LoadStep::kJoined);
  EXPECT_EQ(again.size(), kWhole);
  expect_rest(again);
}

TEST_F(PendingLoadTest, OfLostBlocksTheSoundOnesStay) {
  for (const std::size_t block : {0u, 1u, 2u}) {
    SCOPED_TRACE(block);
    tier_->damage = {block, 3};  // the keys of the second layer
    const auto kv = cache();
    Sequence sequence = kv->open_while_loading(prompt_);
    ASSERT_EQ(wait(sequence), LoadStep::kJoined);
    ASSERT_EQ(sequence.size(), kWhole);
    for (int i = 0; i < 2; ++i) {  // as long as nobody recovers
      const Status lost = attempt(sequence, 8);
      ASSERT_FALSE(lost);
      EXPECT_EQ(lost.error().code, ErrorCode::kIo);
      EXPECT_EQ(sequence.load_state(), LoadState::kLost);
      EXPECT_EQ(sequence.size(), kWhole);
    }
    EXPECT_EQ(kv->stats().index.blocks, 0u);
    EXPECT_EQ(sequence.recover({ErrorCode::kIo, ""}, 8, pool_), PassRemedy::kPollAgain);
    EXPECT_EQ(sequence.load_state(), LoadState::kNone);
    EXPECT_EQ(sequence.size(), block * kBlockTokens);
    EXPECT_EQ(sequence.reused_tokens(), block * kBlockTokens);
    EXPECT_EQ(kv->stats().index.blocks, block);
    EXPECT_EQ(connector_->stats().blocks_loaded, block);
    EXPECT_EQ(connector_->stats().blocks_refused, 1u);
    expect_rest(sequence);
    EXPECT_EQ(kv->stats().index.blocks, 3u);
    tier_->damage.reset();
    EXPECT_TRUE(store_->flush(deadline_in(std::chrono::seconds(20))));  // written again by now
  }
}

TEST_F(PendingLoadTest, WhatHelpsAfterAFailedPass) {
  const Error full{ErrorCode::kOutOfBudget, ""}, broken{ErrorCode::kIo, ""};
  const auto kv = cache();
  for (const bool joined : {false, true}) {
    kv->clear();
    Sequence sequence = kv->open_while_loading(prompt_);
    if (joined) {
      ASSERT_EQ(wait(sequence), LoadStep::kJoined);
    }
    const LoadState before = sequence.load_state();
    EXPECT_EQ(sequence.recover(full, 2, pool_), PassRemedy::kFewerRows);
    EXPECT_EQ(sequence.recover(full, 1, pool_), PassRemedy::kMoreRoom);
    EXPECT_EQ(sequence.recover(broken, 2, pool_), PassRemedy::kNone);
    EXPECT_EQ(sequence.load_state(), before) << "only what is lost is recovered";
    EXPECT_TRUE(sequence.end_load(pool_));
    EXPECT_EQ(sequence.load_state(), LoadState::kNone);
    EXPECT_EQ(sequence.size(), joined ? kWhole : 0);
    EXPECT_EQ(kv->stats().index.blocks, joined ? 3u : 0u);
    EXPECT_FALSE(sequence.end_load(pool_)) << "there is nothing to end any more";
    expect_rest(sequence);
  }
}

TEST_F(PendingLoadTest, ALateLoadIsNotWaitedFor) {
  tier_->by_parts = false;
  tier_->per_block = milliseconds(150);
  const auto kv = cache(milliseconds(100));
  Sequence sequence = kv->open_while_loading(prompt_);
  EXPECT_EQ(sequence.poll_load({.chunk = 64}), LoadStep::kWait);
  EXPECT_EQ(wait(sequence, /*whole=*/true), LoadStep::kJoined) << "the wait is over";
  EXPECT_EQ(sequence.load_state(), LoadState::kNone);
  EXPECT_EQ(sequence.size(), 0u);
  expect_rest(sequence);
}

// A load that begins with block 0 is due at any block border, for the blocks that are still missing then.
TEST_F(PendingLoadTest, BlocksJoinBehindWhatWasComputedMeanwhile) {
  const auto kv = cache();
  Sequence sequence = kv->open_while_loading(prompt_);
  expect_same(compute(sequence, following(0, 10)), expected_);
  EXPECT_EQ(sequence.poll_load({.chunk = 64, .look = milliseconds(30)}), LoadStep::kNone) << "inside a block";
  EXPECT_EQ(sequence.load_state(), LoadState::kOnTheWay);
  expect_same(compute(sequence, following(10, 54)), expected_);
  EXPECT_EQ(wait(sequence), LoadStep::kJoined);
  EXPECT_EQ(sequence.size(), kWhole);
  EXPECT_EQ(sequence.reused_tokens(), 2 * kBlockTokens);
  EXPECT_EQ(connector_->stats().heads_computed, 1u);
  expect_rest(sequence);
  EXPECT_EQ(connector_->stats().blocks_loaded, 2u);
}

// Only the blocks behind those are asked for.
TEST_F(PendingLoadTest, WhatTheIndexKnowsIsNotLoaded) {
  const auto kv = cache();
  Sequence head = kv->open({});
  expect_same(compute(head, following(0, kBlockTokens)), expected_);
  Sequence sequence = kv->open_while_loading(prompt_);
  EXPECT_EQ(sequence.size(), kBlockTokens);
  EXPECT_EQ(wait(sequence), LoadStep::kJoined);
  expect_rest(sequence);
  EXPECT_EQ(connector_->stats().blocks_loaded, 2u);
}

}  // namespace
}  // namespace cairn::pass_test
