// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "cairn/base/file.h"
#include "cairn/store/residency.h"
#include "cairn/testing/stored_blocks.h"

namespace cairn {
namespace {

EvictionHistory reread(const EvictionHistory& log) {
  const TestFolder folder;
  EXPECT_TRUE(write_file(folder.path() + "/gone", log.bytes()));
  EvictionHistory again;
  again.load(folder.path() + "/gone");
  return again;
}

TEST(EvictionHistory, RemembersWhatWentAndForgetsWhatCameBack) {
  EvictionHistory log;
  log.note(test_key(1), Gone::kEvicted);
  log.note(test_key(2), Gone::kDamaged);
  log.note(test_key(1), Gone::kExpired);
  log.note(test_key(3), Gone::kErased);
  log.forget(test_key(2));
  log.forget(test_key(3));
  log.note(test_key(3), Gone::kEvicted);
  for (const EvictionHistory& one : {log, reread(log)}) {
    EXPECT_EQ(one.find(test_key(1)), Gone::kExpired);
    EXPECT_EQ(one.find(test_key(2)), Gone::kUnknown);
    EXPECT_EQ(one.find(test_key(3)), Gone::kEvicted);
  }
}

// A store that is too small for what goes through it: blocks go and come back for ever.
TEST(EvictionHistory, IsBoundedAndKeepsTheNewest) {
  constexpr std::uint64_t kMax = 65536;
  EvictionHistory log;
  for (std::uint64_t i = 0; i < 5 * kMax; ++i) {
    log.note(test_key(i), Gone::kEvicted);
    if (i % 2 == 0) log.forget(test_key(i));
  }
  EXPECT_LE(log.bytes().size(), 9 * kMax + 8);
  EXPECT_EQ(log.find(test_key(5 * kMax - 1)), Gone::kEvicted);
  EXPECT_EQ(log.find(test_key(5 * kMax - 2 * kMax + 1)), Gone::kEvicted);
  EXPECT_EQ(log.find(test_key(5 * kMax - 2 * kMax - 1)), Gone::kUnknown);
  EXPECT_EQ(reread(log).find(test_key(5 * kMax - 1)), Gone::kEvicted);
}

}  // namespace
}  // namespace cairn
