// SPDX-License-Identifier: Apache-2.0
// Expected numbers were computed from the published formulas with 50 digits, apart from this code.
#include "cairn/engine/rope_spec.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cairn/testing/gguf_builder.h"

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

Result<RopeSpec> read(const GgufBuilder& builder) {
  const std::vector<std::byte> bytes = builder.build();
  const auto file = GgufFile::parse(bytes);
  if (!file) return std::unexpected(file.error());
  return read_rope_spec(*file, "llama", RopePairing::kNeighbours, 64, 2048);
}

TEST(RopeSpec, ReadsMetadata) {
  const auto defaults = read(GgufBuilder());
  ASSERT_TRUE(defaults);
  EXPECT_EQ(*defaults, (RopeSpec{.dims = 64, .original_context = 2048}));

  const auto yarn = read(GgufBuilder()
                             .set("llama.rope.dimension_count", 32u)
                             .set("llama.rope.freq_base", 5e5f)
                             .set("llama.rope.scaling.type", "yarn")
                             .set("llama.rope.scaling.factor", 8.0f)
                             .set("llama.rope.scaling.attn_factor", 0.5f)
                             .set("llama.rope.scaling.original_context_length", 512u)
                             .set("llama.rope.scaling.yarn_beta_fast", 16.0f)
                             .set("llama.rope.scaling.yarn_beta_slow", 2.0f));
  ASSERT_TRUE(yarn) << yarn.error().message;
  EXPECT_EQ(*yarn, (RopeSpec{.dims = 32,
                             .base = 5e5,
                             .scaling = RopeScaling::kYarn,
                             .factor = 8,
                             .original_context = 512,
                             .attn_factor = 0.5,
                             .beta_fast = 16,
                             .beta_slow = 2}));

  for (const char* key : {"llama.rope.scale_linear", "llama.rope.scaling.factor"}) {
    const auto legacy = read(GgufBuilder().set(key, 2.0f));
    ASSERT_TRUE(legacy);
    EXPECT_EQ(*legacy, (RopeSpec{.dims = 64, .scaling = RopeScaling::kLinear, .factor = 2, .original_context = 2048}));
  }
  const auto none = read(GgufBuilder().set("llama.rope.scaling.type", "none").set("llama.rope.scaling.factor", 2.0f));
  ASSERT_TRUE(none);
  EXPECT_EQ(none->factor, 1.0);

  std::vector<float> factors(32, 1.0f);
  factors[31] = 32.0f;
  const auto llama3 = read(GgufBuilder().tensor_f32("rope_freqs.weight", {32}, factors));
  ASSERT_TRUE(llama3);
  EXPECT_EQ(llama3->freq_factors, factors);
}

TEST(RopeSpec, RefusesWhatHasNoMeaning) {
  const auto expect_code = [](const GgufBuilder& builder, ErrorCode code) {
    const auto spec = read(builder);
    ASSERT_FALSE(spec);
    EXPECT_EQ(spec.error().code, code) << spec.error().message;
  };
  expect_code(GgufBuilder().set("llama.rope.scaling.type", "longrope"), ErrorCode::kUnsupported);
  expect_code(GgufBuilder().set("llama.rope.dimension_count", 63u), ErrorCode::kCorrupt);
  expect_code(GgufBuilder().set("llama.rope.dimension_count", 66u), ErrorCode::kCorrupt);
  expect_code(GgufBuilder().set("llama.rope.dimension_count", 0u), ErrorCode::kCorrupt);
  expect_code(GgufBuilder().set("llama.rope.freq_base", 1.0f), ErrorCode::kCorrupt);
  expect_code(GgufBuilder().set("llama.rope.freq_base", -1.0f / 0.0f), ErrorCode::kCorrupt);
  expect_code(GgufBuilder().set("llama.rope.scaling.factor", -2.0f), ErrorCode::kCorrupt);
  expect_code(GgufBuilder().set("llama.rope.scaling.type", "yarn").set("llama.rope.scaling.yarn_beta_fast", 0.0f),
              ErrorCode::kCorrupt);
  expect_code(GgufBuilder().set("llama.rope.scaling.type", "yarn").set("llama.rope.scaling.yarn_log_multiplier", 0.1f),
              ErrorCode::kUnsupported);
  expect_code(GgufBuilder().tensor_f32("rope_freqs.weight", {31}, std::vector<float>(31, 1.0f)), ErrorCode::kCorrupt);
  expect_code(GgufBuilder().tensor_f32("rope_freqs.weight", {32}, std::vector<float>(32, 0.0f)), ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace cairn
