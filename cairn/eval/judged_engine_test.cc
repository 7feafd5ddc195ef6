// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/judged_engine.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <set>

#include "cairn/policy/budget_profile.h"
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
    const DamageTap tap(*parse_recipe("raw_f32+shift=3"), like_layers(1, {.kv_heads = 1, .head_dim = 8}, spec));
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
  const DamageTap tap(*parse_recipe("raw_f32+zero-heads=1"), like_layers(2, kShape, rope(RopePairing::kHalves)));
  auto k = testing::random_floats(16, 1), v = testing::random_floats(16, 2);
  const auto k0 = k, v0 = v;
  tap.change(1, 5, k.data(), v.data());
  for (std::size_t d = 0; d < 8; ++d) EXPECT_TRUE(k[d] == 0 && v[d] == 0);
  for (std::size_t d = 8; d < 16; ++d) EXPECT_TRUE(k[d] == k0[d] && v[d] == v0[d]);
}

TEST(DamageTap, ValuesTakeAsManyLevelsAsBitsAllow) {
  for (std::uint32_t bits = 1; bits <= 4; ++bits) {
    const DamageTap tap(*parse_recipe("raw_f32+value-bits=" + std::to_string(bits)),
                        like_layers(1, {.kv_heads = 1, .head_dim = 256}, rope(RopePairing::kHalves)));
    auto k = testing::random_floats(256, 1), v = testing::random_floats(256, 2);
    const auto k0 = k, v0 = v;
    tap.change(0, 0, k.data(), v.data());
    EXPECT_EQ(k, k0);
    EXPECT_LE(std::set<float>(v.begin(), v.end()).size(), std::size_t{1} << bits);
    double error = 0;
    for (std::size_t d = 0; d < 256; ++d) error = std::max(error, std::abs(static_cast<double>(v[d]) - v0[d]));
    if (bits > 1) {
      EXPECT_LT(error, 4.0 / (1 << bits));
    } else {
      for (std::size_t d = 0; d < 256; ++d) EXPECT_EQ(std::signbit(v[d]), std::signbit(v0[d]));
    }
  }
}

TEST(EvalRecipe, OneTextForOneMeaning) {
  EXPECT_EQ(parse_recipe("raw_f16")->text, "raw_f16");
  EXPECT_EQ(parse_recipe("raw_f16+drop=0.20+value-bits=1")->text, "raw_f16+value-bits=1+drop=0.2");
  EXPECT_EQ(parse_recipe("raw_f16+drop=0.2+drop=0.3").error().message,
            "'drop' is given twice, as 'drop=0.2' and as 'drop=0.3'");
  EXPECT_EQ(parse_recipe("tok4+sinks=1+sinks=1").error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(parse_recipe("raw_bf16+shift=-3")->text, "raw_bf16+shift=-3");
  EXPECT_EQ(parse_recipe("raw_f16+drop=0+zero-heads=0")->text, "raw_f16");
  for (const char* text : {"raw_f32", "raw_f16+value-bits=8+shift=5+zero-heads=2+drop=0.125+evict=1"}) {
    EXPECT_EQ(parse_recipe(text)->text, text);
  }
}

// The name of a profile has strokes, which else stand between the parts of a policy.
TEST(EvalRecipe, APolicyMayNameAProfile) {
  const std::string path =
      (std::filesystem::temp_directory_path() / ("cairn-recipe-" + std::to_string(getpid()) + ".toml")).string();
  ASSERT_TRUE(write_budget_profile(path, {.keep = 0.5, .shares = {0.5}}));
  for (const std::string& text : {"raw_f16+policy=tova/profile=" + path, "tok4+policy=snapkv/keep=0.5/profile=" + path,
                                  "tok4+policy=tova/profile=" + path + "/sinks=0"}) {
    const auto recipe = parse_recipe(text);
    ASSERT_TRUE(recipe) << recipe.error().message;
    EXPECT_EQ(recipe->text, text);
    EXPECT_NE(recipe->policy.find("+profile=" + path), std::string::npos) << recipe->policy;
  }
  EXPECT_FALSE(parse_recipe("raw_f16+policy=tova/profile=/no/such/file.toml"));
  EXPECT_FALSE(parse_recipe("raw_f16+policy=tova/profile="));
  EXPECT_EQ(parse_recipe("tok4+policy=none")->text, "tok4");
  EXPECT_FALSE(parse_recipe("raw_f16+policy=tova/profile=x/keep=0.5"));
  std::filesystem::remove(path);
}

TEST(EvalRecipe, SaysWhetherRowsChange) {
  EXPECT_FALSE(parse_recipe("raw_f16+drop=0.5+evict=0.5")->changes_rows());
  EXPECT_TRUE(parse_recipe("raw_f16+shift=1")->changes_rows());
  EXPECT_TRUE(parse_recipe("raw_f16+value-bits=4")->changes_rows());
  EXPECT_TRUE(parse_recipe("raw_f16+zero-heads=1")->changes_rows());
}

TEST(EvalRecipe, RefusesWhatMeansNothing) {
  for (const char* text :
       {"", "+", "raw_f17", "raw_f16+", "raw_f16+drop", "raw_f16+drop=", "raw_f16+drop=1.1", "raw_f16+drop=-0.1",
        "raw_f16+drop=nan", "raw_f16+drop=0.2x", "raw_f16+value-bits=1.5", "raw_f16+value-bits=0",
        "raw_f16+value-bits=9", "raw_f16+shift=1e99", "raw_f16+quant=2", "raw_f16++drop=0.1", "raw_f16 + drop=0.1"}) {
    const auto recipe = parse_recipe(text);
    ASSERT_FALSE(recipe) << text;
    EXPECT_EQ(recipe.error().message.find('\n'), std::string::npos);
  }
  EXPECT_NE(parse_recipe("raw_f16+quant=2").error().message.find("value-bits, shift"), std::string::npos);
}

}  // namespace
}  // namespace cairn
