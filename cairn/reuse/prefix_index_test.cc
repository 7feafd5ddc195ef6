// SPDX-License-Identifier: Apache-2.0
#include "cairn/reuse/prefix_index.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <thread>
#include <vector>

namespace cairn {
namespace {

constexpr std::size_t kPage = PagePool::kPageAlignment;
const Digest kRoot = chain_root(Digest{}, "tenant");

class PrefixIndexTest : public testing::Test {
 protected:
  BlockPages make_pages() {
    auto reservation = pool_->reserve(2 * kPage);
    BlockPages pages(1);
    for (const PageSlot slot : kPageSlots) pages.page(0, slot) = reservation->take(kPage);
    return pages;
  }

  // The blocks of 64 equal tokens each.
  static std::vector<TokenId> tokens_of(const std::vector<TokenId>& symbols) {
    std::vector<TokenId> tokens;
    for (TokenId symbol : symbols) tokens.insert(tokens.end(), kBlockTokens, symbol);
    return tokens;
  }

  // The last of the blocks of `symbols`.
  SealedBlock make_block(const std::vector<TokenId>& symbols, const Digest& root = kRoot) {
    SealedBlock block{.parent = root, .key = root, .tokens = {}, .pages = make_pages()};
    for (TokenId symbol : symbols) {
      block.tokens.fill(symbol);
      block.parent = block.key;
      block.key = block_key(block.parent, block.tokens);
    }
    return block;
  }

  void insert_chain(PrefixIndex& index, const std::vector<TokenId>& symbols) {
    for (std::size_t n = 1; n <= symbols.size(); ++n) {
      index.insert(kRoot, make_block({symbols.begin(), symbols.begin() + static_cast<std::ptrdiff_t>(n)}));
    }
  }

  static std::size_t depth(PrefixIndex& index, const std::vector<TokenId>& symbols) {
    return index.match(kRoot, tokens_of(symbols)).blocks.size();
  }

  std::size_t charge_of_one_block() {
    PrefixIndex index(1 << 20);
    index.insert(kRoot, make_block({1}));
    return index.stats().bytes;
  }

  std::unique_ptr<PagePool> pool_ = *PagePool::create(512 * kPage, std::array<std::size_t, 1>{kPage});
};

TEST_F(PrefixIndexTest, FindsTheLongestChainOfWholeBlocks) {
  PrefixIndex index(1 << 20);
  insert_chain(index, {1, 2, 3});
  EXPECT_EQ(depth(index, {1, 2, 3, 4}), 3u);
  EXPECT_EQ(depth(index, {1, 2, 4}), 2u);
  EXPECT_EQ(depth(index, {2, 3}), 0u);
  const std::vector<TokenId> tokens = tokens_of({1, 2});
  EXPECT_EQ(index.match(kRoot, std::span(tokens).first(2 * kBlockTokens - 1)).blocks.size(), 1u);
  EXPECT_EQ(index.match(kRoot, std::span(tokens).first(kBlockTokens - 1)).blocks.size(), 0u);
  EXPECT_EQ(index.match(chain_root(Digest{}, "other"), tokens_of({1, 2})).blocks.size(), 0u);
  const PrefixIndexStats stats = index.stats();
  EXPECT_EQ(stats.hits, 3u);
  EXPECT_EQ(stats.misses, 2u);
  EXPECT_EQ(stats.tokens_matched, 6u * kBlockTokens);
  EXPECT_EQ(stats.inserted, 3u);
  EXPECT_EQ(stats.blocks, 3u);
}

TEST_F(PrefixIndexTest, KeepsTheFirstPagesOfADuplicate) {
  PrefixIndex index(1 << 20);
  SealedBlock first = make_block({7});
  const BlockPages pages = first.pages;
  EXPECT_EQ(index.insert(kRoot, std::move(first)).outcome, InsertOutcome::kInserted);
  const InsertResult again = index.insert(kRoot, make_block({7}));
  EXPECT_EQ(again.outcome, InsertOutcome::kDuplicate);
  EXPECT_EQ(again.first_pages, pages);
  EXPECT_EQ(index.match(kRoot, tokens_of({7})).blocks.at(0).pages, pages);
}

TEST_F(PrefixIndexTest, RefusesABlockWithoutItsParent) {
  PrefixIndex index(1 << 20);
  EXPECT_EQ(index.insert(kRoot, make_block({1, 2})).outcome, InsertOutcome::kOrphan);
  EXPECT_EQ(index.stats().orphans, 1u);
  EXPECT_EQ(index.stats().blocks, 0u);
  EXPECT_EQ(pool_->bytes_used(), 0u);
}

TEST_F(PrefixIndexTest, AKeyWithOtherTokensIsACountedMiss) {
  PrefixIndex index(1 << 20);
  insert_chain(index, {1});
  SealedBlock forged = make_block({1, 2});
  forged.tokens.back() = 99;
  ASSERT_EQ(index.insert(kRoot, std::move(forged)).outcome, InsertOutcome::kInserted);
  EXPECT_EQ(depth(index, {1, 2}), 1u);
  EXPECT_EQ(index.stats().collisions, 1u);
  EXPECT_EQ(index.insert(kRoot, make_block({1, 2})).outcome, InsertOutcome::kCollision);

  SealedBlock misparented = make_block({3});
  misparented.parent = make_block({1}).key;
  ASSERT_EQ(index.insert(kRoot, std::move(misparented)).outcome, InsertOutcome::kInserted);
  EXPECT_EQ(depth(index, {3}), 0u);
  EXPECT_EQ(index.stats().collisions, 3u);
}

TEST_F(PrefixIndexTest, EvictsLeavesByLastUse) {
  PrefixIndex index(5 * charge_of_one_block());
  insert_chain(index, {1, 2});
  insert_chain(index, {1, 3});
  insert_chain(index, {4, 5});
  EXPECT_EQ(depth(index, {1, 2}), 2u);  // now {1, 3} is the oldest leaf
  index.insert(kRoot, make_block({6}));
  EXPECT_EQ(depth(index, {1, 3}), 1u);
  index.insert(kRoot, make_block({7}));
  EXPECT_EQ(depth(index, {4, 5}), 1u);
  EXPECT_EQ(depth(index, {1, 2}), 2u);
  EXPECT_EQ(index.stats().evictions, 2u);
}

TEST_F(PrefixIndexTest, AChainLongerThanTheBudgetKeepsItsStart) {
  PrefixIndex index(3 * charge_of_one_block());
  insert_chain(index, {9});
  insert_chain(index, {1, 2, 3, 4, 5});
  EXPECT_EQ(depth(index, {1, 2, 3, 4, 5}), 3u);
  EXPECT_EQ(index.stats().no_room, 1u);
  EXPECT_EQ(index.stats().orphans, 1u);
  EXPECT_LE(index.stats().bytes, index.budget());
}

TEST_F(PrefixIndexTest, AReaderKeepsWhatIsEvicted) {
  PrefixIndex index(1 << 20);
  insert_chain(index, {1, 2});
  const PrefixMatch match = index.match(kRoot, tokens_of({1}));
  EXPECT_EQ(index.evict(1 << 20), 2 * kPage);  // the second block; the first is in use
  EXPECT_EQ(depth(index, {1, 2}), 1u);
  index.clear();
  EXPECT_EQ(pool_->bytes_used(), 2 * kPage);
  EXPECT_TRUE(match.blocks.at(0).pages.page(0, PageSlot::kKeys).unique());
}

TEST_F(PrefixIndexTest, UnusedBlocksBehindAUsedOneCanBeFreed) {
  PrefixIndex index(1 << 20);
  insert_chain(index, {1, 2});
  SealedBlock tail = make_block({1, 2, 3});
  const BlockPages held = tail.pages;
  index.insert(kRoot, std::move(tail));
  EXPECT_EQ(index.evict(1), 2 * kPage);
  EXPECT_EQ(depth(index, {1, 2, 3}), 1u);
  EXPECT_EQ(pool_->bytes_used(), 4 * kPage);
}

TEST_F(PrefixIndexTest, ThreadsMatchInsertAndEvict) {
  PrefixIndex index(6 * charge_of_one_block());
  std::vector<std::thread> threads;
  for (TokenId t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (TokenId i = 0; i < 300; ++i) {
        const std::vector<TokenId> symbols = {i % 2, (i + t) % 3, i % 5};
        const PrefixMatch match = index.match(kRoot, tokens_of(symbols));
        insert_chain(index, symbols);
        if (i % 11 == 0) index.evict(3 * kPage);
        if (i % 97 == 0) index.clear();
        EXPECT_LE(index.stats().bytes, index.budget());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  index.clear();
  EXPECT_EQ(pool_->bytes_used(), 0u);
}

}  // namespace
}  // namespace cairn
