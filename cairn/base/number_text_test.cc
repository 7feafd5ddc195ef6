// SPDX-License-Identifier: Apache-2.0
#include "cairn/base/number_text.h"

#include <gtest/gtest.h>

namespace cairn {
namespace {

TEST(NumberText, BytesTakeTheLargestUnitThatFits) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1024), "1.0 KiB");
  EXPECT_EQ(format_bytes(10.5 * 1024 * 1024), "10.5 MiB");
  EXPECT_EQ(format_bytes(5e15), "4547.5 TiB");
}

TEST(NumberText, NumbersAndCounts) {
  EXPECT_EQ(format_number(1.25, 1), "1.2");
  EXPECT_EQ(format_number(-3, 0), "-3");
  EXPECT_EQ(plural(0, "block"), "0 blocks");
  EXPECT_EQ(plural(1, "block"), "1 block");
}

}  // namespace
}  // namespace cairn
