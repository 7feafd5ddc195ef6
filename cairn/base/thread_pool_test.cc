// SPDX-License-Identifier: Apache-2.0
#include "cairn/base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

namespace cairn {
namespace {

TEST(ThreadPool, RunsEveryItemOnceWhateverTheNumbers) {
  for (const unsigned threads : {1u, 2u, 3u, 7u}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.size(), threads);
    for (const std::size_t items : {0u, 1u, 2u, 6u, 1000u}) {
      std::vector<std::atomic<int>> runs(items);
      pool.run(items, [&](std::size_t item, unsigned thread) {
        EXPECT_LT(thread, threads);
        ++runs[item];
      });
      for (const auto& count : runs) EXPECT_EQ(count, 1);
    }
  }
}

// One loop's results are visible to the next, also right after threads went to sleep.
TEST(ThreadPool, LoopsFollowEachOther) {
  ThreadPool pool(4);
  std::vector<std::size_t> values(257, 0);
  for (int round = 0; round < 2000; ++round) {
    pool.run(values.size(), [&](std::size_t i, unsigned) { ++values[values.size() - 1 - i]; });
    pool.run(values.size(), [&](std::size_t i, unsigned) { ++values[i]; });
  }
  for (const std::size_t value : values) EXPECT_EQ(value, 4000u);
}

// A thread that has nothing left helps the others: one slow item does not hold back the rest.
TEST(ThreadPool, IdleThreadsTakeOverTheRestOfAStretch) {
  ThreadPool pool(2);
  std::atomic<int> others{0};
  pool.run(10, [&](std::size_t item, unsigned) {
    if (item == 0) {
      while (others.load() < 9) std::this_thread::yield();
    } else {
      ++others;
    }
  });
  EXPECT_EQ(others, 9);
}

}  // namespace
}  // namespace cairn
