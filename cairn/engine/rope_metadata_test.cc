// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/rope_metadata.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cairn/testing/gguf_builder.h"

namespace cairn {
namespace {

Result<RopeSpec> read(const GgufBuilder& builder) {
  const std::vector<std::byte> bytes = builder.build();
  const auto file = GgufFile::parse(bytes);
  if (!file) return std::unexpected(file.error());
  return read_rope_spec(*file, "llama", RopePairing::kNeighbours, 64, 2048);
}

TEST(ReadRope, ReadsMetadata) {
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

// Under YaRN they count; under another scaling they must say what holds without them.
TEST(ReadRope, KeysOfYarnAreObeyedOrRefused) {
  struct Key {
    const char* name;
    float value, neutral;
  };
  const std::string prefix = "llama.rope.scaling.";
  for (const Key& key : {Key{"yarn_attn_factor", 0.5f, 1}, Key{"yarn_beta_fast", 16, 32}, Key{"yarn_beta_slow", 2, 1},
                         Key{"yarn_ext_factor", 0.5f, 0}, Key{"yarn_log_multiplier", 1, 0}}) {
    SCOPED_TRACE(key.name);
    for (const char* type : {"none", "linear", "longrope", ""}) {
      GgufBuilder builder;
      if (*type != '\0') builder.set(prefix + "type", type).set(prefix + "factor", 2.0f);
      if (std::string(type) == "longrope") {
        const std::vector<float> ones(32, 1.0f);
        builder.tensor_f32("rope_factors_long.weight", {32}, ones).tensor_f32("rope_factors_short.weight", {32}, ones);
      }
      builder.set(prefix + key.name, key.value);
      const auto refused = read(builder);
      ASSERT_FALSE(refused) << type;
      EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported);
      EXPECT_NE(refused.error().message.find(key.name), std::string::npos) << refused.error().message;
      builder.erase(prefix + key.name).set(prefix + key.name, key.neutral);
      EXPECT_TRUE(read(builder)) << type;
    }
  }
  const auto scaled = read(GgufBuilder()
                               .set(prefix + "type", "yarn")
                               .set(prefix + "factor", 2.0f)
                               .set(prefix + "attn_factor", 0.5f)
                               .set(prefix + "yarn_attn_factor", 0.5f)
                               .set(prefix + "yarn_ext_factor", 0.25f));
  ASSERT_TRUE(scaled);
  EXPECT_EQ(scaled->attn_factor, 0.25);
  EXPECT_EQ(scaled->ext_factor, 0.25);
}

TEST(ReadRope, RefusesWhatHasNoMeaning) {
  const auto expect_code = [](const GgufBuilder& builder, ErrorCode code) {
    const auto spec = read(builder);
    ASSERT_FALSE(spec);
    EXPECT_EQ(spec.error().code, code) << spec.error().message;
  };
  expect_code(GgufBuilder().set("llama.rope.scaling.type", "dynamic"), ErrorCode::kUnsupported);
  expect_code(GgufBuilder().set("llama.rope.scaling.type", "longrope"), ErrorCode::kCorrupt);  // without its factors
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
