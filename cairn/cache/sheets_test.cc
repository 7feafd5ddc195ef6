// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/sheets.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <optional>
#include <vector>

namespace cairn::cache {
namespace {

constexpr std::size_t kBytes = 4096, kBlocks = 4;  // of a sheet

class SheetsTest : public ::testing::Test {
 protected:
  std::size_t used() const { return pool_->bytes_used(); }
  // Takes from the budget what growth() says, and no more.
  void grow(Sheets& sheets, std::size_t blocks) {
    const std::size_t before = used(), growth = sheets.growth(blocks);
    Reservation room = pool_->reserve(growth).value();
    sheets.grow(blocks, room);
    EXPECT_EQ(room.bytes(), 0u);
    EXPECT_EQ(sheets.blocks(), blocks);
    EXPECT_LE(used(), before + growth);
  }

  std::unique_ptr<PagePool> pool_ = PagePool::create(std::size_t{1} << 20, std::vector<std::size_t>{64}).value();
};

TEST_F(SheetsTest, ForksShareWhatIsCompleteAndCopyWhatIsNot) {
  std::optional<Sheets> first(std::in_place, kBytes, kBlocks);
  grow(*first, 6);
  EXPECT_EQ(used(), 2 * kBytes);
  std::memset(first->data(1), 7, kBytes);
  std::optional<Sheets> fork(*first);
  EXPECT_EQ(used(), 2 * kBytes);
  EXPECT_EQ(fork->growth(6), 0u);
  EXPECT_EQ(fork->growth(7), kBytes) << "a copy of the last one";
  EXPECT_EQ(fork->growth(9), 2 * kBytes);
  grow(*fork, 7);
  EXPECT_EQ(used(), 3 * kBytes);
  EXPECT_EQ(fork->data(0), first->data(0));
  ASSERT_NE(fork->data(1), first->data(1));
  EXPECT_EQ(std::memcmp(fork->data(1), first->data(1), kBytes), 0);
  EXPECT_EQ(first->growth(8), 0u) << "it is alone with its own now";
  first.reset();
  EXPECT_EQ(used(), 2 * kBytes);
  fork.reset();
  EXPECT_EQ(used(), 0u);
}

// What one of two lets go of the other one still holds, so it is no room for new sheets.
TEST_F(SheetsTest, ACutGivesBackWhatNobodyElseHolds) {
  Sheets sheets(kBytes, kBlocks);
  grow(sheets, 16);
  std::optional<Sheets> fork(sheets);
  fork->shrink(4);
  EXPECT_EQ(fork->bytes(), kBytes);
  EXPECT_EQ(used(), 4 * kBytes);
  EXPECT_EQ(fork->growth(16), 3 * kBytes) << "its only sheet is full";
  grow(*fork, 16);
  EXPECT_EQ(used(), 7 * kBytes);
  fork.reset();
  EXPECT_EQ(used(), 4 * kBytes);
  sheets.shrink(5);
  EXPECT_EQ(used(), 2 * kBytes);
}

}  // namespace
}  // namespace cairn::cache
