// SPDX-License-Identifier: Apache-2.0
// Expected numbers were computed from the published formulas with 50 digits, apart from this code.
#include "cairn/block/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "cairn/testing/random.h"

namespace cairn {
namespace {

struct Expected {
  std::uint32_t pair;
  double frequency;
  double cos;
  double sin;
};

void expect_angles(const RopeSpec& spec, std::int64_t position, const std::vector<Expected>& expected) {
  const std::vector<double> frequencies = spec.inverse_frequencies();
  ASSERT_EQ(frequencies.size(), spec.dims / 2);
  std::vector<float> cos(frequencies.size());
  std::vector<float> sin(frequencies.size());
  rope_cos_sin(spec, position, cos, sin);
  for (const Expected& want : expected) {
    EXPECT_NEAR(frequencies[want.pair] / want.frequency, 1.0, 1e-14) << want.pair;
    EXPECT_NEAR(cos[want.pair], want.cos, 1e-7) << want.pair;
    EXPECT_NEAR(sin[want.pair], want.sin, 1e-7) << want.pair;
  }
}

TEST(RopeSpec, PlainAnglesHoldAtFarPositions) {
  expect_angles({.dims = 64}, 100003,
                {{0, 1.0, 0.98431483, -0.176420847},
                 {1, 0.74989420933245583, -0.279408826, 0.960172228},
                 {17, 0.0074989420933245583, -0.602682349, 0.797981194},
                 {31, 0.0001333521432163324, 0.718436907, 0.69559213}});
}

TEST(RopeSpec, LinearScalingDividesPositions) {
  expect_angles({.dims = 64, .scaling = RopeScaling::kLinear, .factor = 4}, 100003,
                {{0, 0.25, 0.999017264, -0.0443227427},
                 {1, 0.18747355233311396, 0.447075904, -0.894496023},
                 {17, 0.0018747355233311396, 0.526444871, -0.850209267},
                 {31, 3.3338035804083101e-5, -0.981565172, -0.191127742}});
}

TEST(RopeSpec, YarnKeepsFastPairsAndInterpolatesSlowOnes) {
  const RopeSpec spec{.dims = 128, .base = 1e6, .scaling = RopeScaling::kYarn, .factor = 4, .original_context = 32768};
  EXPECT_NEAR(spec.magnitude(), 1.13862943611, 1e-11);
  expect_angles(spec, 70001,
                {{0, 1.0, 1.13802842, 0.0369906488},
                 {23, 0.0069783058485986634, -0.0333228401, -1.13814172},
                 {24, 0.0053753214907901015, 0.861084837, -0.744989863},
                 {30, 0.0010643609812470018, 0.714992951, -0.886150141},
                 {39, 6.4903943208370288e-5, -0.191567624, -1.1223987},
                 {40, 4.445698525097307e-5, -1.13813203, 0.0336521072},
                 {63, 3.1023444018792989e-7, 1.13836095, 0.0247253543}});
}

TEST(RopeSpec, YarnOfATinyHead) {
  const RopeSpec spec{.dims = 8, .scaling = RopeScaling::kYarn, .factor = 2, .original_context = 64};
  expect_angles(spec, 77,
                {{0, 1.0, -0.0331220573, 1.06880162},
                 {1, 0.075, 0.934184307, -0.520320715},
                 {2, 0.005, 0.991039205, 0.401590912},
                 {3, 0.0005, 1.06852232, 0.041158447}});
}

TEST(RopeSpec, YarnWithoutExtrapolationIsLinear) {
  RopeSpec yarn{.dims = 64, .scaling = RopeScaling::kYarn, .factor = 4, .original_context = 2048, .ext_factor = 0};
  const RopeSpec linear{.dims = 64, .scaling = RopeScaling::kLinear, .factor = 4};
  EXPECT_EQ(yarn.inverse_frequencies(), linear.inverse_frequencies());
  EXPECT_EQ(yarn.magnitude(), 1.0);
}

TEST(RopeSpec, FactorsDivideFrequencies) {
  const RopeSpec plain{.dims = 4, .base = 10000};
  const RopeSpec divided{.dims = 4, .base = 10000, .freq_factors = {1.0f, 8.0f}};
  EXPECT_EQ(divided.inverse_frequencies()[0], plain.inverse_frequencies()[0]);
  EXPECT_EQ(divided.inverse_frequencies()[1], plain.inverse_frequencies()[1] / 8);
  EXPECT_NE(plain, divided);
}

TEST(RopeSpec, PositionZeroAndNegativePositions) {
  const RopeSpec spec{.dims = 4};
  std::vector<float> cos(2);
  std::vector<float> sin(2);
  rope_cos_sin(spec, 0, cos, sin);
  EXPECT_EQ(cos, (std::vector<float>{1, 1}));
  EXPECT_EQ(sin, (std::vector<float>{0, 0}));
  rope_cos_sin(spec, -5, cos, sin);
  std::vector<float> cos5(2);
  std::vector<float> sin5(2);
  rope_cos_sin(spec, 5, cos5, sin5);
  EXPECT_EQ(cos, cos5);
  EXPECT_EQ(sin[1], -sin5[1]);
}

// Rotates unrotated heads as the engine does, in doubles.
std::vector<float> rotated(std::span<const float> heads, const RopeSpec& spec, std::int64_t position,
                           std::uint32_t head_dim) {
  const std::vector<double> frequencies = spec.inverse_frequencies();
  std::vector<float> out(heads.begin(), heads.end());
  for (std::size_t first = 0; first < heads.size(); first += head_dim) {
    for (std::size_t i = 0; i < frequencies.size(); ++i) {
      const bool neighbours = spec.pairing == RopePairing::kNeighbours;
      const std::size_t begin = first + spec.first;
      const std::size_t a = begin + (neighbours ? 2 * i : i), b = begin + (neighbours ? 2 * i + 1 : i + spec.dims / 2);
      const double angle = static_cast<double>(position) * frequencies[i];
      const double cos = std::cos(angle) * spec.magnitude(), sin = std::sin(angle) * spec.magnitude();
      out[a] = static_cast<float>(heads[a] * cos - heads[b] * sin);
      out[b] = static_cast<float>(heads[a] * sin + heads[b] * cos);
    }
  }
  return out;
}

std::vector<RopeSpec> all_kinds() {
  std::vector<RopeSpec> specs;
  for (const RopePairing pairing : {RopePairing::kNeighbours, RopePairing::kHalves}) {
    for (const std::uint32_t dims : {32u, 24u}) {  // of 32 channels: all of them turn, or eight do not
      specs.push_back({.dims = dims, .pairing = pairing});
      specs.push_back({.dims = dims, .pairing = pairing, .scaling = RopeScaling::kLinear, .factor = 4});
      specs.push_back({.dims = dims,
                       .pairing = pairing,
                       .base = 1e6,
                       .scaling = RopeScaling::kYarn,
                       .factor = 4,
                       .original_context = 4096});
      specs.push_back(
          {.dims = dims - 8, .first = 32 - (dims - 8), .pairing = pairing});  // those before them do not turn
      specs.push_back({.dims = dims, .pairing = pairing, .freq_factors = std::vector<float>(dims / 2, 2.5f)});
    }
  }
  return specs;
}

TEST(RopeShift, AShiftedKeyIsTheKeyRotatedAtTheNewPosition) {
  constexpr std::uint32_t kHeadDim = 32;
  const auto plain = testing::random_floats(3 * kHeadDim, 7);
  for (const RopeSpec& spec : all_kinds()) {
    for (const auto& [from, to] : {std::pair{0, 5}, {5, 0}, {100, 90000}, {130001, 17}, {64, 65}}) {
      auto key = rotated(plain, spec, from, kHeadDim);
      RopeShift(spec, from, to).apply(key, kHeadDim);
      const auto expected = rotated(plain, spec, to, kHeadDim);
      for (std::size_t d = 0; d < key.size(); ++d) {
        ASSERT_NEAR(key[d], expected[d], 2e-6) << canonical_rope(spec) << ", channel " << d;
      }
    }
  }
}

TEST(RopeShift, NoDistanceChangesNoBit) {
  for (const RopeSpec& spec : all_kinds()) {
    auto key = rotated(testing::random_floats(64, 8), spec, 1000, 32);
    key[0] = -0.0f;
    const auto before = key;
    RopeShift(spec, 1000, 1000).apply(key, 32);
    EXPECT_EQ(std::memcmp(key.data(), before.data(), key.size() * sizeof(float)), 0);
  }
}

}  // namespace
}  // namespace cairn
