// SPDX-License-Identifier: Apache-2.0
// What is special about pq4 and pq4-256; the conformance suite has the rest.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "cairn/testing/codec_pages.h"
#include "cairn/testing/random.h"

namespace cairn {
namespace {

using testing::make_page;
using testing::random_floats;
using testing::test_format;

class Pq : public ::testing::TestWithParam<const char*> {
 protected:
  const Codec& codec() { return **find_codec(GetParam()); }
};

TEST_P(Pq, TakesAnEighthOfABitForTheGain) {
  for (const PageSlot slot : kPageSlots) {
    EXPECT_EQ(bits_per_value(test_format(codec(), {8, 64}, slot)), 4.125);
    EXPECT_EQ(bits_per_value(test_format(codec(), {8, 128}, slot)), 4.0625);
  }
}

// One large channel in a token: a gain by the norm would clip it.
TEST_P(Pq, OutliersAreReached) {
  const PageShape shape = {1, 64};
  auto rows = random_floats(64 * 64, 1);
  for (std::uint32_t t = 0; t < 64; ++t) rows[t * 64 + t] = t % 2 == 0 ? 8.0f : -8.0f;
  const PageFormat format = test_format(codec(), shape, PageSlot::kKeys);
  const auto page = make_page(format, rows, 64);
  std::vector<float> out(rows.size());
  codec().decode(format, page.data(), 64, out.data());
  for (std::uint32_t t = 0; t < 64; ++t) EXPECT_NEAR(out[t * 64 + t], rows[t * 64 + t], 2.0f);
}

// Tables come from files: whatever their bytes, nothing but the numbers may be wrong.
TEST_P(Pq, AnyBytesAreATable) {
  const PageShape shape = {2, 24};
  std::mt19937 bits(11);
  const auto rows = random_floats(64 * 48, 2);
  for (const PageSlot slot : kPageSlots) {
    for (int round = 0; round < 20; ++round) {
      std::vector<std::byte> table(codec().codebook_bytes(shape));
      for (auto& byte : table) byte = round == 0 ? std::byte{0xff} : static_cast<std::byte>(bits());
      PageFormat format = test_format(codec(), shape, slot);
      format.codebook = table.data();
      const auto page = make_page(format, rows, 64);
      std::vector<float> out(rows.size()), q(24, 1.0f), scores(64), p(64, 0.5f), acc(24);
      codec().decode(format, page.data(), 64, out.data());
      const float correction = 1.0f;
      if (slot == PageSlot::kKeys) codec().scores(format, page.data(), 1, q.data(), 1, kAllBoxes, {}, scores.data());
      if (slot == PageSlot::kValues) {
        codec().accumulate(format, page.data(), 1, p.data(), &correction, 1, 64, kAllBoxes, {}, acc.data());
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, Pq, ::testing::Values("pq4", "pq4-256"),
                         [](const auto& name) { return name.index == 0 ? "channels" : "pairs"; });

}  // namespace
}  // namespace cairn
