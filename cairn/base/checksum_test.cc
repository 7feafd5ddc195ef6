// SPDX-License-Identifier: Apache-2.0
#include "cairn/base/checksum.h"

#include <gtest/gtest.h>

#include <vector>

#include "cairn/base/random.h"

namespace cairn {
namespace {

std::vector<std::byte> some_bytes(std::size_t count) {
  std::vector<std::byte> bytes(count);
  SeededRandom random(count + 1);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.next());
  return bytes;
}

TEST(Checksum, IsWhatXxHashPublishesForNothing) {
  EXPECT_EQ(checksum({}), 0x2d06800538d394c2u);  // XXH3_64bits of an empty input, seed 0
}

TEST(Checksum, IsTheSameWithEveryInstructionSetAndCopiesAll) {
  for (const std::size_t size : {0, 1, 63, 240, 241, 4096, 8191, 8192, 8193, 100000, 1 << 20}) {
    const std::vector<std::byte> from = some_bytes(size);
    std::vector<std::byte> to(size);
    const std::uint64_t expected = checksum(from);
    std::vector<CopyWithChecksum> all = {copy_with_checksum_base};
    if (__builtin_cpu_supports("avx2")) all.push_back(copy_with_checksum_avx2);
    if (__builtin_cpu_supports("avx512f")) all.push_back(copy_with_checksum_avx512);
    for (const CopyWithChecksum copy : all) {
      std::ranges::fill(to, std::byte{0});
      EXPECT_EQ(copy(to.data(), from.data(), size), expected) << size;
      EXPECT_EQ(to, from);
      EXPECT_EQ(copy(nullptr, from.data(), size), expected) << size;
    }
  }
}

TEST(Checksum, ChangesWithEveryBit) {
  std::vector<std::byte> bytes = some_bytes(300);
  const std::uint64_t whole = checksum(bytes);
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    bytes[bit / 8] ^= std::byte{1} << bit % 8;
    EXPECT_NE(checksum(bytes), whole) << bit;
    bytes[bit / 8] ^= std::byte{1} << bit % 8;
  }
}

}  // namespace
}  // namespace cairn
