// SPDX-License-Identifier: Apache-2.0
#include "cairn/capacity/machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "cairn/testing/test_folder.h"

namespace cairn::capacity {
namespace {

TEST(Machine, KnowsItself) {
  const Machine machine = this_machine();
  EXPECT_FALSE(machine.cpu.empty());
  EXPECT_GE(machine.cores, 1u);
  EXPECT_GT(available_memory(), 1e6);
}

// Between a slow disk and more than any memory bus has.
TEST(Machine, ReadsMemoryAtAPlausibleRate) {
  const double rate = measure_read_bandwidth(1);
  EXPECT_GT(rate, 1e7);
  EXPECT_LT(rate, 1e13);
}

TEST(Machine, SwapsInTheFolderAndLeavesNothingThere) {
  const TestFolder folder;
  const Result<double> rate = measure_swap_rate(folder.path());
  ASSERT_TRUE(rate) << rate.error().message;
  EXPECT_GT(*rate, 0);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  const Result<double> none = measure_swap_rate(folder.path() + "/missing");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::kIo);
  EXPECT_THAT(none.error().message, ::testing::HasSubstr(folder.path() + "/missing"));
}

}  // namespace
}  // namespace cairn::capacity
