// SPDX-License-Identifier: Apache-2.0
// Codes that stand for several channels: every set gives the bits of a matrix that repeats them, and the encoder's
// step.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "cairn/kernels/kernels.h"
#include "cairn/testing/random.h"

namespace cairn {
namespace {

using testing::random_floats;
using Shares = std::array<std::uint8_t, kShareKinds>;

constexpr Shares kShares[] = {{1, 0, 0, 0}, {0, 1, 0, 0}, {8, 0, 0, 0}, {0, 4, 0, 0}, {2, 1, 1, 0},
                              {0, 0, 2, 0}, {0, 0, 0, 1}, {3, 1, 0, 1}, {0, 16, 0, 0}};

// Shared codes and the same with a code for each channel.
struct SharedMatrix {
  std::vector<std::uint8_t> shared, repeated, levels;
  Shares shares;
  CodeMatrix with_shares, plain;

  SharedMatrix(const Shares& kinds, bool keys) : shares(kinds) {
    const std::uint32_t block = keys ? kKeyShareBlock : kValueShareBlock;
    const ShareExtents extents = share_extents(shares.data());
    const std::uint32_t stored = extents.blocks * block, channels = extents.reads * block;
    std::mt19937 random(stored + channels);
    std::vector<std::uint8_t> codes(stored * kPageTokens), copies(channels * kPageTokens);
    for (auto& code : codes) code = static_cast<std::uint8_t>(random() & 15);
    for (std::uint32_t c = 0; c < channels; ++c) {
      const std::uint32_t from = shared_block(shares.data(), c / block) * block + c % block;
      std::memcpy(&copies[c * kPageTokens], &codes[from * kPageTokens], kPageTokens);
    }
    levels.resize((channels + 15) / 16 * 256);
    for (auto& level : levels) level = static_cast<std::uint8_t>(random());
    pack(codes, stored, keys, shared);
    pack(copies, channels, keys, repeated);
    const std::uint32_t lanes = keys ? kPageTokens : channels, depth = keys ? channels : kPageTokens;
    EXPECT_EQ(shared.size(), shared_code_bytes(extents.blocks, keys));
    with_shares = {shared.data(), 4, lanes, depth, levels.data(), shares.data()};
    plain = {repeated.data(), 4, lanes, depth, levels.data(), nullptr};
  }

  static void pack(const std::vector<std::uint8_t>& codes, std::uint32_t channels, bool keys,
                   std::vector<std::uint8_t>& out) {
    const Kernels& scalar = *find_kernels("scalar");
    if (keys) {
      out.resize(code_bytes(kPageTokens, channels, 4));
      scalar.pack_codes(codes.data(), kPageTokens, 1, kPageTokens, channels, 4, out.data());
    } else {
      out.resize(code_bytes(channels, kPageTokens, 4));
      scalar.pack_codes(codes.data(), 1, kPageTokens, channels, kPageTokens, 4, out.data());
    }
  }
};

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST(SharedCodes, ScoresAreThoseOfRepeatedCodesInEverySet) {
  for (const Shares& shares : kShares) {
    const SharedMatrix matrix(shares, true);
    const std::uint32_t depth = matrix.plain.depth;
    const auto scale = random_floats(depth, 1), offset = random_floats(depth, 2), gains = random_floats(kPageTokens, 3);
    for (const std::uint32_t rows : {1u, 2u, 3u, 4u, 9u}) {
      for (std::uint32_t boxes = 1; boxes < 16; boxes += 2) {
        CodeKeys keys{
            matrix.plain, 255, scale.data(), offset.data(), gains.data(), 0, static_cast<std::uint8_t>(boxes)};
        const auto q = random_floats(rows * depth, rows);
        std::vector<float> expected(rows * kPageTokens, -7.0f);
        find_kernels("scalar")->code_scores(keys, q.data(), rows, {}, expected.data());
        keys.codes = matrix.with_shares;
        for (const Kernels* set : available_kernels()) {
          std::vector<float> got(rows * kPageTokens, -7.0f);
          set->code_scores(keys, q.data(), rows, {}, got.data());
          EXPECT_TRUE(same_bits(got, expected)) << set->name << " channels " << depth << " rows " << rows;
        }
      }
    }
  }
}

TEST(SharedCodes, SumsAreThoseOfRepeatedCodesInEverySet) {
  for (const Shares& shares : kShares) {
    const SharedMatrix matrix(shares, false);
    const std::uint32_t lanes = matrix.plain.lanes;
    const auto scale = random_floats(lanes, 1);
    auto gains = random_floats(kPageTokens, 3);
    for (float& gain : gains) gain = std::fabs(gain);
    for (const std::uint32_t rows : {1u, 3u, 4u, 9u}) {
      for (std::uint32_t boxes = 1; boxes < 16; boxes += 2) {
        CodeValues values{
            matrix.plain, 255, lanes, gains.data(), nullptr, scale.data(), static_cast<std::uint8_t>(boxes)};
        auto p = random_floats(rows * kPageTokens, rows);
        for (std::uint32_t i = 0; i < p.size(); ++i)
          p[i] = (boxes >> i % kPageTokens / kPageBoxTokens & 1) != 0 ? std::fabs(p[i]) : 0.0f;
        const auto correction = random_floats(rows, 5);
        const auto start = random_floats(rows * lanes, 6);
        auto expected = start;
        find_kernels("scalar")->code_accumulate(values, p.data(), correction.data(), rows, {}, expected.data());
        values.codes = matrix.with_shares;
        for (const Kernels* set : available_kernels()) {
          auto got = start;
          set->code_accumulate(values, p.data(), correction.data(), rows, {}, got.data());
          EXPECT_TRUE(same_bits(got, expected)) << set->name << " channels " << lanes << " rows " << rows;
        }
      }
    }
  }
}

TEST(NearestCodes, AreTheFirstOfTheNearestInEverySet) {
  for (const std::uint32_t width : {1u, 2u, 4u, 8u}) {
    const std::size_t stride = kPageTokens * 3;
    auto x = random_floats(static_cast<std::uint32_t>(stride) * width, width);
    auto points = random_floats(16 * width, 7);
    std::copy_n(points.begin(), width, points.end() - width);  // equals are met
    for (std::uint32_t d = 0; d < width; ++d) x[d * stride] = points[d];
    x[1] = NAN;
    std::vector<std::uint8_t> expected(kPageTokens);
    std::vector<float> distance(kPageTokens, 0.5f), energy(kPageTokens, 0.25f);
    find_kernels("scalar")->nearest_codes(x.data(), stride, width, points.data(), expected.data(), distance.data(),
                                          energy.data());
    EXPECT_EQ(expected[0], 0);
    EXPECT_EQ(distance[0], 0.5f);
    EXPECT_EQ(expected[1], 0);
    EXPECT_TRUE(std::isinf(distance[1]));
    for (std::uint32_t t = 2; t < kPageTokens; ++t) {
      const auto apart = [&](std::uint32_t p) {
        double sum = 0;
        for (std::uint32_t d = 0; d < width; ++d) sum += std::pow(x[d * stride + t] - points[p * width + d], 2);
        return sum;
      };
      for (std::uint32_t p = 0; p < 16; ++p) EXPECT_LE(apart(expected[t]), apart(p) + 1e-5);
      EXPECT_NEAR(distance[t], 0.5 + apart(expected[t]), 1e-5);
      double length = 0.25;
      for (std::uint32_t d = 0; d < width; ++d) length += std::pow(points[expected[t] * width + d], 2);
      EXPECT_NEAR(energy[t], length, 1e-5);
    }
    for (const Kernels* set : available_kernels()) {
      std::vector<std::uint8_t> codes(kPageTokens);
      std::vector<float> got(kPageTokens, 0.5f), lengths(kPageTokens, 0.25f);
      set->nearest_codes(x.data(), stride, width, points.data(), codes.data(), got.data(), lengths.data());
      EXPECT_EQ(codes, expected) << set->name;
      EXPECT_TRUE(same_bits(got, distance)) << set->name;
      EXPECT_TRUE(same_bits(lengths, energy)) << set->name;
    }
  }
}

}  // namespace
}  // namespace cairn
