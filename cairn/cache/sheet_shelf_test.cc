// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/sheet_shelf.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <vector>

#include "cairn/block/block_key.h"

namespace cairn::cache {
namespace {

constexpr std::size_t kBytes = 4096, kBlocks = 4;  // of a sheet

// A chain of ten blocks that the index holds.
class SheetShelfTest : public ::testing::Test {
 protected:
  SheetShelfTest() {
    std::vector<TokenId> tokens;
    for (std::size_t t = 0; t < 10 * kBlockTokens; ++t) tokens.push_back(static_cast<TokenId>(t % 97));
    keys_ = block_keys(root_, tokens);
    for (std::size_t b = 0; b < keys_.size(); ++b) {
      SealedBlock block{.parent = b == 0 ? root_ : keys_[b - 1], .key = keys_[b], .tokens = {}, .pages = BlockPages(1)};
      std::copy_n(tokens.begin() + static_cast<std::ptrdiff_t>(b * kBlockTokens), kBlockTokens, block.tokens.begin());
      block.pages.page(0, PageSlot::kKeys) = pool_->reserve(64).value().take(64);
      EXPECT_EQ(index_.insert(root_, std::move(block)).outcome, InsertOutcome::kInserted);
    }
    used_ = pool_->bytes_used();
  }
  std::size_t sheet_bytes() const { return pool_->bytes_used() - used_; }
  ShelfPlace place(std::uint32_t kind = 0) { return {&shelf_, &index_, keys_, kind}; }
  void grow(Sheets& sheets, std::size_t blocks) {
    Reservation room = pool_->reserve(sheets.growth(blocks)).value();
    sheets.grow(blocks, room);
  }

  const Digest root_ = chain_root(Digest{}, "test");
  std::vector<Digest> keys_;
  std::unique_ptr<PagePool> pool_ = PagePool::create(std::size_t{1} << 20, std::vector<std::size_t>{64}).value();
  SheetShelf shelf_;
  PrefixIndex index_{std::size_t{1} << 20, nullptr, {}, [this](const Digest& key) { shelf_.forget(key); }};
  std::size_t used_ = 0;
};

TEST_F(SheetShelfTest, WhatIsCompleteIsMadeOnce) {
  Sheets first(kBytes, kBlocks), second(kBytes, kBlocks), other(kBytes, kBlocks);
  take_from_shelf(first, 10, place());
  EXPECT_EQ(first.blocks(), 0u);
  grow(first, 10);
  put_on_shelf(first, 0, place());
  EXPECT_EQ(shelf_.bytes(), 2 * kBytes) << "the third is not complete";
  take_from_shelf(second, 10, place());
  EXPECT_EQ(second.blocks(), 8u);
  EXPECT_EQ(second.data(0), first.data(0));
  EXPECT_EQ(second.data(1), first.data(1));
  grow(second, 10);
  EXPECT_EQ(sheet_bytes(), 4 * kBytes);
  // One that was begun is exchanged for what is there.
  Sheets begun(kBytes, kBlocks);
  grow(begun, 2);
  take_from_shelf(begun, 7, place());
  EXPECT_EQ(begun.blocks(), 4u);
  EXPECT_EQ(begun.data(0), first.data(0));
  // Other tables and other forms are other sheets, and so are those of another chain.
  take_from_shelf(other, 10, place(1));
  EXPECT_EQ(other.blocks(), 0u);
  std::vector<Digest> keys = keys_;
  keys[3] = Digest{};
  take_from_shelf(other, 10, {&shelf_, &index_, keys, 0});
  EXPECT_EQ(other.blocks(), 0u);
  take_from_shelf(other, 10, {});
  EXPECT_EQ(other.blocks(), 0u);
}

TEST_F(SheetShelfTest, SheetsGoWithTheirBlocks) {
  std::optional<Sheets> sheets(std::in_place, kBytes, kBlocks);
  grow(*sheets, 10);
  put_on_shelf(*sheets, 0, place());
  sheets.reset();
  EXPECT_EQ(sheet_bytes(), 2 * kBytes) << "the blocks are there still";
  EXPECT_GT(index_.evict(3 * 64), 0u);  // leaves first: the eighth block is the last of the second sheet
  EXPECT_EQ(shelf_.bytes(), kBytes);
  index_.clear();
  EXPECT_EQ(pool_->bytes_used(), 0u);
  // Of blocks that are gone by then nothing is kept.
  Sheets late(kBytes, kBlocks);
  grow(late, 10);
  put_on_shelf(late, 0, place());
  EXPECT_EQ(shelf_.bytes(), 0u);
}

TEST_F(SheetShelfTest, WhatNoSequenceHoldsMakesRoom) {
  Sheets sheets(kBytes, kBlocks);
  grow(sheets, 8);
  put_on_shelf(sheets, 0, place());
  sheets.shrink(4);
  EXPECT_EQ(shelf_.forget_unused(), kBytes);
  EXPECT_EQ(shelf_.forget_unused(), 0u);
  EXPECT_EQ(shelf_.bytes(), kBytes);
  EXPECT_EQ(sheet_bytes(), kBytes);
}

}  // namespace
}  // namespace cairn::cache
