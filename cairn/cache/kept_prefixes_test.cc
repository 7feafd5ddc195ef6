// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/kept_prefixes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "cairn/cache/sequence_state.h"
#include "cairn/policy/budget_profile.h"

namespace cairn::cache {
namespace {

constexpr std::size_t kChunk = 128;

// One layer, and states that nothing was computed for: their pages are empty.
class KeptPrefixesTest : public ::testing::Test {
 protected:
  KeptPrefixesTest() {
    KvCacheOptions options{.plan = {},
                           .layers = like_layers(1, {.kv_heads = 2, .head_dim = 16}),
                           .root = root_,
                           .budget_bytes = std::size_t{1} << 20,
                           .index_budget_bytes = std::size_t{1} << 20};
    options.plan.layers.assign(1, {*find_codec("raw_f32"), *find_codec("raw_f32")});
    core_ = CacheCore::create(options).value();
    block_bytes_ = core_->tables[0].open_bytes();
  }

  static std::vector<TokenId> tokens(std::size_t size, TokenId salt = 0) {
    std::vector<TokenId> all(size);
    for (std::size_t t = 0; t < size; ++t) all[t] = static_cast<TokenId>(t % 97) + salt;
    return all;
  }
  static std::vector<TokenId> joined(std::vector<TokenId> first, const std::vector<TokenId>& rest) {
    first.insert(first.end(), rest.begin(), rest.end());
    return first;
  }
  std::vector<Digest> keys(std::span<const TokenId> of) const { return border_keys(root_, policy_, of); }

  // One page of keys and one of values.
  LayerTable::Entry block() {
    Reservation room = core_->make_room(block_bytes_).value();
    const PageForms &k = core_->tables[0].keys, &v = core_->tables[0].values;
    return {.keys = room.take(k.open_bytes, kOpenForm),
            .values = room.take(v.open_bytes, kOpenForm),
            .positions = std::make_shared<PositionBlock>()};
  }
  // Of these blocks, whatever the tokens.
  std::shared_ptr<SequenceState> state(std::vector<TokenId> of, std::vector<LayerTable::Entry> blocks) {
    auto made = std::make_shared<SequenceState>(core_);
    for (std::size_t b = 0; b < blocks.size(); ++b) {
      blocks[b].first_token = b * kBlockTokens;
      made->tables[0].append(std::move(blocks[b]), kBlockTokens);
    }
    made->tokens = std::move(of);
    made->policy.emplace(policy_, *core_);
    made->core = nullptr;
    return made;
  }
  std::shared_ptr<SequenceState> state(std::vector<TokenId> of) { return state(std::move(of), {block()}); }
  void put(std::vector<TokenId> of) {
    const std::vector<Digest> chain = keys(of);
    core_->kept.put(chain, state(std::move(of)));
  }
  void put(std::vector<TokenId> of, std::vector<LayerTable::Entry> blocks) {
    const std::vector<Digest> chain = keys(of);
    core_->kept.put(chain, state(std::move(of), std::move(blocks)));
  }
  // As sequences do: one that reaches a border where there is one already publishes nothing.
  void reach(std::size_t chunks) {
    const auto of = tokens(chunks * kChunk);
    if (!core_->kept.touch(keys(of))) put(of);
  }
  // A block that the index holds alone.
  void index_block(TokenId salt) {
    SealedBlock sealed{.parent = root_, .key = {}, .tokens = {}, .pages = BlockPages(1)};
    std::ranges::copy(tokens(kBlockTokens, salt), sealed.tokens.begin());
    sealed.key = block_key(root_, sealed.tokens);
    LayerTable::Entry pages = block();
    sealed.pages.page(0, PageSlot::kKeys) = std::move(pages.keys);
    sealed.pages.page(0, PageSlot::kValues) = std::move(pages.values);
    core_->index->insert(root_, std::move(sealed));
    core_->hold_index_budget();
  }
  // How many tokens are found of a prompt.
  std::size_t found(std::span<const TokenId> prompt) {
    const KeptPrefixes::State state = core_->kept.find(keys(prompt), prompt, policy_);
    return state == nullptr ? 0 : state->tokens.size();
  }

  const Digest root_ = chain_root(Digest{}, "test");
  const PolicySpec policy_ = parse_policy("keydiff+chunk=128").value();
  std::shared_ptr<CacheCore> core_;
  std::size_t block_bytes_ = 0;
};

TEST_F(KeptPrefixesTest, TheDeepestIsFoundAndChecked) {
  EXPECT_EQ(found(tokens(1000)), 0u);
  put(tokens(kChunk));
  put(tokens(2 * kChunk));
  EXPECT_EQ(found(tokens(1000)), 2 * kChunk);
  EXPECT_EQ(found(tokens(2 * kChunk)), 2 * kChunk);
  EXPECT_EQ(found(tokens(2 * kChunk - 1)), kChunk);
  EXPECT_EQ(found(tokens(1000, 1)), 0u);
  // Equal keys prove nothing.
  const auto others = tokens(1000, 1);
  EXPECT_EQ(core_->kept.find(keys(tokens(1000)), others, policy_), nullptr);
  const PolicySpec other = parse_policy("knorm+chunk=128").value();
  EXPECT_EQ(core_->kept.find(keys(tokens(1000)), tokens(1000), other), nullptr);
  const KeptPrefixStats stats = core_->kept.stats();
  EXPECT_EQ(stats.hits, 3u);
  EXPECT_EQ(stats.tokens_matched, 5 * kChunk);
  EXPECT_EQ(stats.prefixes, 2u);
}

TEST_F(KeptPrefixesTest, KeysTellCachesAndPoliciesApart) {
  const auto some = tokens(300);
  const std::vector<Digest> own = keys(some);
  EXPECT_EQ(own.size(), 2u);
  EXPECT_NE(border_keys(chain_root(Digest{}, "another"), policy_, some), own);
  EXPECT_NE(border_keys(root_, parse_policy("keydiff+chunk=128+keep=0.5").value(), some), own);
  PolicySpec profiled = policy_, changed = policy_;  // the same file at another time
  profiled.profile = std::make_shared<const BudgetProfile>(BudgetProfile{.keep = 0.25, .shares = {0.25}});
  changed.profile = std::make_shared<const BudgetProfile>(BudgetProfile{.keep = 0.25, .shares = {0.5}});
  EXPECT_NE(border_keys(root_, profiled, some), border_keys(root_, changed, some));
  EXPECT_NE(border_keys(root_, profiled, some), own);
}

TEST_F(KeptPrefixesTest, TheLastTwoOfAChainStay) {
  for (std::size_t n = 1; n <= 6; ++n) put(tokens(n * kChunk));
  EXPECT_EQ(core_->kept.stats().prefixes, 2u);
  EXPECT_EQ(core_->kept.stats().evictions, 0u);
  EXPECT_EQ(found(tokens(1000)), 6 * kChunk);
  EXPECT_EQ(found(tokens(6 * kChunk - 1)), 5 * kChunk);
  EXPECT_EQ(found(tokens(5 * kChunk - 1)), 0u);
}

// The second prompt that passes by knows the way: where it leaves it is kept for the third.
TEST_F(KeptPrefixesTest, WherePromptsPartStays) {
  for (std::size_t n = 1; n <= 6; ++n) put(tokens(n * kChunk));
  const auto second = joined(tokens(2 * kChunk), tokens(1000, 7));
  EXPECT_EQ(found(second), 0u);
  for (std::size_t n = 1; n <= 6; ++n) put({second.begin(), second.begin() + static_cast<std::ptrdiff_t>(n * kChunk)});
  EXPECT_EQ(core_->kept.stats().prefixes, 5u);
  EXPECT_EQ(found(joined(tokens(2 * kChunk), tokens(1000, 9))), 2 * kChunk);
  EXPECT_EQ(found(tokens(1000)), 6 * kChunk);
  EXPECT_EQ(found(second), 6 * kChunk);
}

TEST_F(KeptPrefixesTest, WhereTwoBeganStays) {
  put(tokens(kChunk));
  for (std::size_t i = 0; i < 2; ++i) EXPECT_EQ(found(tokens(kChunk + 1)), kChunk);
  for (std::size_t n = 2; n <= 6; ++n) put(tokens(n * kChunk));
  EXPECT_EQ(found(joined(tokens(kChunk), tokens(1000, 9))), kChunk);
  // A conversation takes up its last turn, once each: what lies behind that goes.
  core_->kept.clear();
  for (std::size_t n = 1; n <= 6; ++n) {
    put(tokens(n * kChunk));
    EXPECT_EQ(found(tokens(1000)), n * kChunk);
  }
  EXPECT_EQ(core_->kept.stats().prefixes, 2u);
}

// Two prompts on one document, the first three borders ahead of the second: what both have passed goes.
TEST_F(KeptPrefixesTest, PromptsInLockstepKeepTheLastTwo) {
  for (std::size_t n = 1; n <= 12; ++n) {
    reach(n);
    if (n > 3) reach(n - 3);
  }
  const auto at = [&](std::size_t n) { return core_->kept.touch(keys(tokens(n * kChunk))); };
  EXPECT_EQ(core_->kept.stats().prefixes, 4u) << "the last two of each";
  for (std::size_t n = 10; n <= 12; ++n) reach(n);
  EXPECT_EQ(core_->kept.stats().prefixes, 2u) << "the second has caught up";
  EXPECT_TRUE(at(11) && at(12));
  EXPECT_FALSE(at(10) || at(9) || at(1));
}

TEST_F(KeptPrefixesTest, ATouchIsAUse) {
  put(tokens(kChunk, 1));
  put(tokens(kChunk, 2));
  EXPECT_TRUE(core_->kept.touch(keys(tokens(kChunk, 1))));
  EXPECT_FALSE(core_->kept.touch(keys(tokens(kChunk, 3))));
  EXPECT_TRUE(core_->kept.drop_oldest());
  EXPECT_EQ(found(tokens(kChunk, 2)), 0u);
  EXPECT_EQ(found(tokens(kChunk, 1)), kChunk);
}

// Under a policy that demotes, neighbours share what was demoted before.
TEST_F(KeptPrefixesTest, SharedPagesCountOnce) {
  const LayerTable::Entry shared = block();
  put(tokens(kChunk, 1), {shared, block()});
  const std::size_t one = core_->kept.bytes();
  put(tokens(kChunk, 2), {shared, block()});
  const std::size_t beside = one - 2 * block_bytes_;
  EXPECT_EQ(core_->kept.bytes(), 3 * block_bytes_ + 2 * beside);
  EXPECT_TRUE(core_->kept.drop_oldest());
  EXPECT_EQ(core_->kept.bytes(), one);
  put(tokens(kChunk, 1), {shared, block()});
  core_->kept.clear();
  EXPECT_EQ(core_->kept.bytes(), 0u);
  put(tokens(kChunk, 2), {shared, block()});
  EXPECT_EQ(core_->kept.bytes(), one);
}

// One that shares most of its pages would go for little: others go first, and so do blocks of the index.
TEST_F(KeptPrefixesTest, WhatIsMostlyItsOwnGoesFirst) {
  const LayerTable::Entry of_others[] = {block(), block()};
  put(tokens(kChunk, 1), {of_others[0], of_others[1], block()});
  put(tokens(kChunk, 2), {of_others[0], block()});
  EXPECT_EQ(core_->kept.evict(1, KeptToGo::kMostlyOwn), block_bytes_) << "half of its pages come back";
  EXPECT_EQ(found(tokens(kChunk, 2)), 0u);
  EXPECT_EQ(core_->kept.evict(1, KeptToGo::kMostlyOwn), 0u);
  EXPECT_EQ(found(tokens(kChunk, 1)), kChunk);
  EXPECT_EQ(core_->kept.evict(3 * block_bytes_), block_bytes_) << "what others hold stays with them";
  EXPECT_EQ(core_->kept.bytes(), 0u);
}

TEST_F(KeptPrefixesTest, BlocksOfTheIndexGoBeforeWhatIsMostlyShared) {
  const LayerTable::Entry shared[] = {block(), block()};
  put(tokens(kChunk, 1), {shared[0], shared[1], block()});
  index_block(1);
  std::vector<Reservation> all;
  const auto take = [&](std::size_t blocks) { all.push_back(core_->make_room(blocks * block_bytes_).value()); };
  take(core_->pool->budget() / block_bytes_ - 4);
  EXPECT_EQ(core_->index->stats().blocks, 1u);
  EXPECT_GT(core_->kept.bytes(), core_->index->stats().bytes);
  take(1);
  EXPECT_EQ(core_->index->stats().blocks, 0u);
  EXPECT_EQ(core_->kept.stats().prefixes, 1u);
  take(1);
  EXPECT_EQ(core_->kept.stats().prefixes, 0u);
}

// Where nothing comes back for one alone, those that share their pages go together.
TEST_F(KeptPrefixesTest, WhatTheyShareAmongThemselvesComesBack) {
  {
    const LayerTable::Entry shared = block();
    put(tokens(kChunk, 1), {shared});
    put(tokens(kChunk, 2), {shared});
  }
  const LayerTable::Entry in_use = block();
  put(tokens(kChunk, 3), {in_use});
  EXPECT_EQ(core_->kept.evict(1, KeptToGo::kMostlyOwn), 0u);
  EXPECT_EQ(core_->kept.evict(1), block_bytes_);
  EXPECT_EQ(core_->kept.evict(1), 0u);
  EXPECT_EQ(core_->kept.stats().prefixes, 1u);
  EXPECT_EQ(found(tokens(kChunk, 3)), kChunk);
}

TEST_F(KeptPrefixesTest, OneThatExceedsTheBudgetCostsNoOther) {
  KeptPrefixes small(3 * block_bytes_);
  small.put(keys(tokens(kChunk, 1)), state(tokens(kChunk, 1)));
  small.put(keys(tokens(kChunk, 2)), state(tokens(kChunk, 2), {block(), block(), block()}));
  EXPECT_EQ(small.stats().published, 1u);
  EXPECT_FALSE(small.touch(keys(tokens(kChunk, 2))));
  EXPECT_TRUE(small.touch(keys(tokens(kChunk, 1))));
}

TEST_F(KeptPrefixesTest, ThreadsMayDoAllOfThis) {
  const auto work = [&](TokenId salt) {
    for (std::size_t i = 0; i < 400; ++i) {
      const auto prompt = tokens((1 + i % 5) * kChunk, salt + static_cast<TokenId>(i % 3));
      put(prompt);
      const KeptPrefixes::State taken = core_->kept.find(keys(prompt), prompt, policy_);
      const auto begins = [&] {
        return std::ranges::equal(taken->tokens, std::span(prompt).first(taken->tokens.size()));
      };
      EXPECT_TRUE(taken == nullptr || begins());
      if (i % 7 == 0) core_->kept.evict(block_bytes_ * (i % 3), i % 2 == 0 ? KeptToGo::kAny : KeptToGo::kMostlyOwn);
      if (i % 11 == 0) core_->kept.drop_oldest();
      if (i % 97 == 0) core_->kept.clear();
      EXPECT_LE(core_->kept.stats().prefixes * block_bytes_, core_->pool->budget());
    }
  };
  std::thread one(work, 1), other(work, 2);
  one.join();
  other.join();
  core_->kept.evict(core_->pool->budget());
  EXPECT_EQ(core_->kept.bytes(), 0u);
  EXPECT_EQ(core_->pool->bytes_used(), 0u);
}

TEST_F(KeptPrefixesTest, TheLeastRecentlyUsedGoesFirst) {
  put(tokens(kChunk, 1));
  put(tokens(kChunk, 2));
  put(tokens(kChunk, 3));
  EXPECT_EQ(found(tokens(kChunk, 1)), kChunk);
  EXPECT_EQ(core_->kept.evict(1), block_bytes_);
  EXPECT_EQ(found(tokens(kChunk, 2)), 0u);
  EXPECT_EQ(core_->kept.evict(block_bytes_ + 1), 2 * block_bytes_);
  EXPECT_EQ(core_->kept.bytes(), 0u);
  EXPECT_EQ(core_->kept.stats().evictions, 3u);
  EXPECT_EQ(core_->pool->bytes_used(), 0u);
}

TEST_F(KeptPrefixesTest, WhatIsInUseFreesNothingAndStays) {
  const auto user = state(tokens(kChunk));
  core_->kept.put(keys(tokens(kChunk)), std::make_shared<SequenceState>(*user));  // as one that was published
  put(tokens(kChunk, 1));
  EXPECT_EQ(core_->kept.evict(2 * block_bytes_), block_bytes_);
  EXPECT_EQ(found(tokens(kChunk)), kChunk);
  EXPECT_TRUE(core_->kept.drop_oldest());
  EXPECT_FALSE(core_->kept.drop_oldest());
}

// Blocks of the index and kept prefixes in one full pool: whichever holds more gives, and none of the other's goes.
TEST_F(KeptPrefixesTest, WhoHoldsMoreGives) {
  const std::size_t blocks = core_->pool->budget() / block_bytes_;
  for (std::size_t b = 0; b < 2 * blocks; ++b) index_block(static_cast<TokenId>(b));
  for (std::size_t b = 0; b < 2 * blocks; ++b) {
    put(tokens(kChunk, static_cast<TokenId>(1000 + b)));
    core_->hold_index_budget();
  }
  const auto share = [&] {
    return static_cast<double>(core_->kept.bytes()) /
           static_cast<double>(core_->kept.bytes() + core_->index->stats().bytes);
  };
  EXPECT_NEAR(share(), 0.5, 0.1) << "neither starves the other";
  for (std::size_t b = 0; b < 2 * blocks; ++b) index_block(static_cast<TokenId>(5000 + b));
  EXPECT_NEAR(share(), 0.5, 0.1);
  EXPECT_LE(core_->kept.bytes() + core_->index->stats().bytes, core_->options.index_budget_bytes);
  // All of it can be had.
  EXPECT_TRUE(core_->make_room(core_->pool->budget() / block_bytes_ * block_bytes_));
  EXPECT_EQ(core_->kept.stats().prefixes, 0u);
}

}  // namespace
}  // namespace cairn::cache
