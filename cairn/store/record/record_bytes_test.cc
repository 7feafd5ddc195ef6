// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/record/record_bytes.h"

#include <gtest/gtest.h>

namespace cairn {
namespace {

TEST(RecordPool, MemoryIsAlignedAndNobodyElses) {
  std::vector<std::jthread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::vector<RecordBytes> held;
      for (std::size_t i = 0; i < 2000; ++i) {
        RecordBytes bytes(kDirectIoPage * (1 + (i + static_cast<std::size_t>(t)) % 5));
        wrong += reinterpret_cast<std::uintptr_t>(bytes.data()) % kDirectIoPage != 0;
        std::ranges::fill(bytes.span(), static_cast<std::byte>(t));
        held.push_back(std::move(bytes));
        if (held.size() < 30) continue;
        for (const RecordBytes& one : held) {
          wrong += !std::ranges::all_of(one.span(), [&](std::byte b) { return b == static_cast<std::byte>(t); });
        }
        held.clear();
      }
    });
  }
  threads.clear();
  EXPECT_EQ(wrong, 0);
}

TEST(RecordPool, MovedFromHoldsNothing) {
  RecordBytes a(5000);
  std::byte* const at = a.data();
  RecordBytes b = std::move(a);
  EXPECT_EQ(b.data(), at);
  EXPECT_EQ(b.size(), 2 * kDirectIoPage);
  b = RecordBytes(100);
  EXPECT_EQ(b.size(), kDirectIoPage);
}

TEST(RecordPool, LargeOnesAndManyAreNotKept) {
  for (int i = 0; i < 200; ++i) {
    std::vector<RecordBytes> held;
    for (std::size_t n = 1; n < 5; ++n) held.emplace_back(n * (std::size_t{1} << 20));
  }
  RecordBytes large(kRecordPoolBytes);
  EXPECT_EQ(large.size(), kRecordPoolBytes);
}

}  // namespace
}  // namespace cairn
