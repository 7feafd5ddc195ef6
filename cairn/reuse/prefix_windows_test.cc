// SPDX-License-Identifier: Apache-2.0
// Windowed pages in the index: at which boundaries a lookup hits, and which pages go first.
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <vector>

#include "cairn/reuse/prefix_index.h"

namespace cairn {
namespace {

constexpr std::size_t kPage = 1024;  // more than the index takes for itself
constexpr std::size_t kWindowBlocks = 2;
const Digest kRoot = chain_root(Digest{}, "tenant");

using Symbols = std::vector<TokenId>;

// Blocks of 64 equal tokens; layer 0 has a window, layer 1 has none.
class PrefixWindowsTest : public testing::Test {
 protected:
  BlockPages make_pages(bool windows = true) {
    auto room = pool_->reserve(4 * kPage);
    BlockPages pages(2);
    for (std::size_t layer = windows ? 0 : 1; layer < 2; ++layer) {
      for (const PageSlot slot : kPageSlots) pages.page(layer, slot) = room->take(kPage);
    }
    return pages;
  }
  SealedBlock make_block(const Symbols& symbols, bool windows = true) {
    SealedBlock block{.parent = kRoot, .key = kRoot, .tokens = {}, .pages = make_pages(windows)};
    for (const TokenId symbol : symbols) {
      block.tokens.fill(symbol);
      block.parent = block.key;
      block.key = block_key(block.parent, block.tokens);
    }
    return block;
  }
  static std::unique_ptr<PrefixIndex> make_index(std::size_t budget) {
    return std::make_unique<PrefixIndex>(budget, nullptr,
                                         IndexWindows{.layers = {true, false}, .blocks = kWindowBlocks});
  }
  void insert_chain(PrefixIndex& index, const Symbols& symbols) {
    for (std::size_t n = 1; n <= symbols.size(); ++n) {
      index.insert(kRoot, make_block({symbols.begin(), symbols.begin() + static_cast<std::ptrdiff_t>(n)}));
    }
  }
  static PrefixMatch match(PrefixIndex& index, const Symbols& symbols) {
    std::vector<TokenId> tokens;
    for (const TokenId symbol : symbols) tokens.insert(tokens.end(), kBlockTokens, symbol);
    return index.match(kRoot, tokens);
  }
  static std::size_t depth(PrefixIndex& index, const Symbols& symbols) { return match(index, symbols).blocks.size(); }
  std::size_t charge() {
    const auto index = make_index(1 << 20);
    index->insert(kRoot, make_block({1}));
    return index->stats().bytes;
  }

  std::unique_ptr<PagePool> pool_ = *PagePool::create(2048 * kPage, std::array<std::size_t, 1>{kPage});
};

TEST_F(PrefixWindowsTest, AHitBringsTheWindowedPagesThatTheNextTokenSees) {
  const auto index = make_index(1 << 20);
  insert_chain(*index, {1, 2, 3, 4, 5});
  for (std::size_t n = 1; n <= 5; ++n) {
    Symbols symbols = {1, 2, 3, 4, 5};
    symbols.resize(n);
    const PrefixMatch hit = match(*index, symbols);
    ASSERT_EQ(hit.blocks.size(), n);
    for (std::size_t b = 0; b < n; ++b) {
      EXPECT_TRUE(hit.blocks[b].pages.page(1, PageSlot::kKeys));
      EXPECT_EQ(static_cast<bool>(hit.blocks[b].pages.page(0, PageSlot::kValues)), b + kWindowBlocks >= n);
    }
  }
}

TEST_F(PrefixWindowsTest, EvictionTakesWindowedPagesThatNoEndNeeds) {
  const auto index = make_index(1 << 20);
  insert_chain(*index, {1, 2, 3, 4, 5, 6});
  // The end needs the last two; four have theirs to give.
  EXPECT_EQ(index->evict(8 * kPage), 8 * kPage);
  EXPECT_EQ(index->stats().windows_dropped, 4u);
  EXPECT_EQ(index->stats().evictions, 0u);
  const PrefixMatch whole = match(*index, {1, 2, 3, 4, 5, 6, 7});
  EXPECT_EQ(whole.blocks.size(), 6u);
  EXPECT_EQ(index->stats().shortened, 0u);
  const PrefixMatch middle = match(*index, {1, 2, 3, 4, 7});
  EXPECT_TRUE(middle.blocks.empty());
  EXPECT_EQ(middle.known, 4u);
  EXPECT_EQ(index->stats().shortened, 1u);
  EXPECT_EQ(index->known(std::array{make_block({1}).key, make_block({1, 2}).key}), 0u);
  EXPECT_TRUE(index->contains(make_block({1, 2}).key));
}

TEST_F(PrefixWindowsTest, TheLeastRecentlyUsedGoFirst) {
  const auto index = make_index(1 << 20);
  insert_chain(*index, {1, 2, 3, 4});
  insert_chain(*index, {11, 12, 13, 14});
  match(*index, {1, 2, 3, 4});
  EXPECT_EQ(index->evict(4 * kPage), 4 * kPage);
  EXPECT_EQ(depth(*index, {1, 2}), 2u);
  EXPECT_EQ(depth(*index, {11, 12}), 0u);
}

TEST_F(PrefixWindowsTest, AForkKeepsItsWindow) {
  const auto index = make_index(1 << 20);
  insert_chain(*index, {1, 2, 3, 4, 5, 6});
  insert_chain(*index, {1, 2, 3, 4, 15, 16, 17});
  index->evict(1);
  while (index->stats().evictions == 0) {
    EXPECT_EQ(depth(*index, {1, 2, 3, 4, 99}), 4u);
    EXPECT_EQ(depth(*index, {1, 2, 3, 4, 5, 6}), 6u);
    index->evict(1);
  }
}

TEST_F(PrefixWindowsTest, WhatIsComputedAgainComesBack) {
  const auto index = make_index(1 << 20);
  insert_chain(*index, {1, 2, 3, 4, 5, 6});
  index->evict(8 * kPage);
  const std::size_t bytes = index->stats().bytes;
  const InsertResult thin = index->insert(kRoot, make_block({1}, /*windows=*/false));
  EXPECT_EQ(thin.outcome, InsertOutcome::kDuplicate);
  EXPECT_FALSE(thin.first_pages.page(0, PageSlot::kKeys));
  const InsertResult back = index->insert(kRoot, make_block({1}));
  EXPECT_EQ(back.outcome, InsertOutcome::kDuplicate);
  EXPECT_TRUE(back.first_pages.page(0, PageSlot::kKeys));
  EXPECT_EQ(index->stats().bytes, bytes + 2 * kPage);
  EXPECT_EQ(depth(*index, {1, 9}), 1u);
  EXPECT_EQ(depth(*index, {1, 2, 9}), 1u);
  index->insert(kRoot, make_block({1, 2}));
  EXPECT_EQ(depth(*index, {1, 2, 9}), 2u);
}

// The budget holds all of a chain but for windowed pages, which go from its own beginning too.
TEST_F(PrefixWindowsTest, AChainFitsThatDoesNotFitWithAllItsWindows) {
  const std::size_t one = charge();
  const auto index = make_index(10 * one);
  Symbols symbols;
  for (TokenId s = 1; s <= 12; ++s) symbols.push_back(s);
  insert_chain(*index, {21, 22, 23});
  insert_chain(*index, symbols);
  EXPECT_LE(index->stats().bytes, 10 * one);
  EXPECT_EQ(index->stats().no_room, 0u);
  EXPECT_EQ(depth(*index, symbols), 12u);
  // A fork at every block wants each window; the chain fits all the same, once it is inserted without them.
  const auto forked = make_index(10 * one);
  for (std::size_t n = 1; n <= 12; ++n) {
    Symbols chain(symbols.begin(), symbols.begin() + static_cast<std::ptrdiff_t>(n));
    forked->insert(kRoot, make_block(chain));
    chain.back() = 99;
    forked->insert(kRoot, make_block(chain));
    EXPECT_LE(forked->stats().bytes, 10 * one);
  }
  insert_chain(*forked, symbols);
  EXPECT_EQ(depth(*forked, symbols), 12u);
}

TEST_F(PrefixWindowsTest, EverythingCanGo) {
  const auto index = make_index(1 << 20);
  insert_chain(*index, {1, 2, 3, 4, 5, 6});
  insert_chain(*index, {1, 2, 3, 14, 15});
  const std::size_t used = pool_->bytes_used();
  EXPECT_EQ(index->evict(SIZE_MAX / 2), used);
  EXPECT_EQ(index->stats().blocks, 0u);
  EXPECT_EQ(index->stats().bytes, 0u);
  insert_chain(*index, {1, 2, 3, 4, 5, 6});
  index->evict(2 * kPage);
  index->clear();
  EXPECT_EQ(pool_->bytes_used(), 0u);
  insert_chain(*index, {1, 2, 3});
  EXPECT_EQ(depth(*index, {1, 2, 3}), 3u);
}

}  // namespace
}  // namespace cairn
