// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/damage_tap.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "cairn/testing/random.h"

namespace cairn {
namespace {

constexpr PageShape kShape{.kv_heads = 2, .head_dim = 8};

RopeSpec rope(RopePairing pairing) {
  RopeSpec spec;
  spec.dims = 6;  // two channels of a head do not turn
  spec.pairing = pairing;
  return spec;
}

std::vector<float> rotated(const std::vector<float>& head, const RopeSpec& spec, std::int64_t position) {
  std::vector<float> cos(spec.dims / 2), sin(spec.dims / 2), out = head;
  rope_cos_sin(spec, position, cos, sin);
  for (std::size_t i = 0; i < cos.size(); ++i) {
    const bool neighbours = spec.pairing == RopePairing::kNeighbours;
    const std::size_t a = neighbours ? 2 * i : i, b = neighbours ? 2 * i + 1 : i + cos.size();
    out[a] = head[a] * cos[i] - head[b] * sin[i];
    out[b] = head[a] * sin[i] + head[b] * cos[i];
  }
  return out;
}

TEST(DamageTap, ShiftedKeysAreThoseOfAnEarlierPosition) {
  for (const RopePairing pairing : {RopePairing::kNeighbours, RopePairing::kHalves}) {
    const RopeSpec spec = rope(pairing);
    const DamageTap tap(*parse_recipe("raw_f32+shift=3"), {.kv_heads = 1, .head_dim = 8}, spec);
    const auto plain = testing::random_floats(8, 1);
    auto key = rotated(plain, spec, 20), value = testing::random_floats(8, 2);
    const auto untouched = value;
    tap.change(0, 20, key.data(), value.data());
    const auto expected = rotated(plain, spec, 17);
    for (std::size_t d = 0; d < 8; ++d) EXPECT_NEAR(key[d], expected[d], 1e-5) << d;
    EXPECT_EQ(value, untouched);
  }
}

TEST(DamageTap, ZeroedHeadsAreZeroAndOthersUntouched) {
  const DamageTap tap(*parse_recipe("raw_f32+zero-heads=1"), kShape, rope(RopePairing::kHalves));
  auto k = testing::random_floats(16, 1), v = testing::random_floats(16, 2);
  const auto k0 = k, v0 = v;
  tap.change(1, 5, k.data(), v.data());
  for (std::size_t d = 0; d < 8; ++d) EXPECT_TRUE(k[d] == 0 && v[d] == 0);
  for (std::size_t d = 8; d < 16; ++d) EXPECT_TRUE(k[d] == k0[d] && v[d] == v0[d]);
}

TEST(DamageTap, ValuesTakeAsManyLevelsAsBitsAllow) {
  for (std::uint32_t bits = 1; bits <= 4; ++bits) {
    const DamageTap tap(*parse_recipe("raw_f32+value-bits=" + std::to_string(bits)), {.kv_heads = 1, .head_dim = 256},
                        rope(RopePairing::kHalves));
    auto k = testing::random_floats(256, 1), v = testing::random_floats(256, 2);
    const auto k0 = k, v0 = v;
    tap.change(0, 0, k.data(), v.data());
    EXPECT_EQ(k, k0);
    EXPECT_LE(std::set<float>(v.begin(), v.end()).size(), std::size_t{1} << bits);
    double error = 0;
    for (std::size_t d = 0; d < 256; ++d) error = std::max(error, std::abs(static_cast<double>(v[d]) - v0[d]));
    if (bits > 1) EXPECT_LT(error, 4.0 / (1 << bits));
    if (bits == 1) {
      for (std::size_t d = 0; d < 256; ++d) EXPECT_EQ(std::signbit(v[d]), std::signbit(v0[d]));
    }
  }
}

}  // namespace
}  // namespace cairn
