// SPDX-License-Identifier: Apache-2.0
#include "cairn/block/block_key.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "cairn/block/layer_spec.h"

namespace cairn {
namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

// The groups of lines between ```vectors and ```, one per recipe or chain.
std::vector<Fields> read_vectors() {
  std::ifstream file(CAIRN_SOURCE_DIR "/docs/block-identity.md");
  std::vector<Fields> groups(1);
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    if (line == "```vectors") {
      inside = true;
    } else if (line == "```") {
      inside = false;
    } else if (inside && line.empty()) {
      groups.emplace_back();
    } else if (inside) {
      const std::size_t space = std::min(line.find(' '), line.size());
      groups.back().emplace_back(line.substr(0, space), space < line.size() ? line.substr(space + 1) : "");
    }
  }
  return groups;
}

Digest digest_of(const std::string& hex) {
  Digest digest;
  EXPECT_EQ(hex.size(), 64u);
  for (std::size_t i = 0; i < 32; ++i) {
    digest.bytes[i] = static_cast<std::uint8_t>(std::stoi(hex.substr(2 * i, 2), nullptr, 16));
  }
  return digest;
}

Recipe recipe_of(const Fields& fields) {
  Recipe recipe;
  for (const auto& [name, value] : fields) {
    if (name == "weights") recipe.weights = digest_of(value);
    if (name == "adapter") recipe.adapters.push_back(digest_of(value));
    if (name == "rope") recipe.rope = value;
    if (name == "tokenizer") recipe.tokenizer = digest_of(value);
    if (name == "layers") recipe.layers = static_cast<std::uint32_t>(std::stoul(value));
    if (name == "kv_heads") recipe.shape.kv_heads = static_cast<std::uint32_t>(std::stoul(value));
    if (name == "head_dim") recipe.shape.head_dim = static_cast<std::uint32_t>(std::stoul(value));
    if (name == "unlike_layers") recipe.unlike_layers = value;
    if (name == "codec_plan") recipe.codec_plan = value;
    if (name == "retention") recipe.retention = value;
    if (name == "arithmetic") recipe.arithmetic = value;
  }
  return recipe;
}

std::string field(const Fields& fields, const std::string& name) {
  for (const auto& [field_name, value] : fields) {
    if (field_name == name) return value;
  }
  ADD_FAILURE() << "no field " << name;
  return {};
}

TEST(BlockIdentity, EqualsThePublishedVectors) {
  std::map<std::string, Digest> fingerprints;
  std::size_t chains = 0;
  for (const Fields& group : read_vectors()) {
    ASSERT_FALSE(group.empty());
    SCOPED_TRACE(group.front().second);
    if (group.front().first == "recipe") {
      const Digest fingerprint = recipe_fingerprint(recipe_of(group));
      EXPECT_EQ(fingerprint.hex(), field(group, "fingerprint"));
      fingerprints[group.front().second] = fingerprint;
      continue;
    }
    ASSERT_EQ(group.front().first, "chain");
    ++chains;
    Digest parent = chain_root(fingerprints.at(field(group, "of")), field(group, "tenant"));
    EXPECT_EQ(parent.hex(), field(group, "root"));
    std::int64_t token = std::stoll(field(group, "first"));
    for (const auto& [name, value] : group) {
      if (name != "key") continue;
      std::vector<TokenId> tokens;
      for (; tokens.size() < kBlockTokens; token += std::stoll(field(group, "step"))) {
        tokens.push_back(static_cast<TokenId>(token));
      }
      parent = block_key(parent, tokens);
      EXPECT_EQ(parent.hex(), value);
    }
  }
  EXPECT_GE(fingerprints.size(), 5u);
  EXPECT_GE(chains, 10u);
}

TEST(BlockIdentity, EveryRecipeFieldMattersAndIsNamed) {
  const Recipe base{.weights = {{1}},
                    .adapters = {Digest{{2}}},
                    .rope = "half-split",
                    .tokenizer = {{3}},
                    .layers = 4,
                    .shape = {.kv_heads = 2, .head_dim = 64},
                    .codec_plan = "k1v2*4",
                    .retention = "all",
                    .arithmetic = "f32.v1"};
  EXPECT_EQ(base.codec_plan, "k1v2*4");
  EXPECT_EQ(explain_difference(recipe_text(base), recipe_text(base)), "");
  std::map<std::string, Recipe> changed;
  const auto change = [&](const std::string& name, auto&& edit) { edit(changed.emplace(name, base).first->second); };
  change("weights", [](Recipe& r) { r.weights.bytes[31] = 1; });
  change("adapters", [](Recipe& r) { r.adapters.clear(); });
  change("rope", [](Recipe& r) { r.rope += " "; });
  change("tokenizer", [](Recipe& r) { r.tokenizer.bytes[0] = 0; });
  change("layers", [](Recipe& r) { r.layers = 5; });
  change("kv_heads", [](Recipe& r) { r.shape.kv_heads = 1; });
  change("head_dim", [](Recipe& r) { r.shape.head_dim = 65; });
  change("unlike_layers", [](Recipe& r) { r.unlike_layers = "1 window=64"; });
  change("codec_plan", [](Recipe& r) { r.codec_plan = "k2v1*4"; });
  change("retention", [](Recipe& r) { r.retention = "sink4+window1024"; });
  change("arithmetic", [](Recipe& r) { r.arithmetic = "f32.v2"; });
  for (const auto& [name, recipe] : changed) {
    EXPECT_NE(recipe_fingerprint(recipe), recipe_fingerprint(base)) << name;
    EXPECT_EQ(explain_difference(recipe_text(base), recipe_text(recipe)).substr(0, name.size() + 2), name + ": ");
  }
}

// Descriptions are stored by other builds, which may know other fields.
TEST(BlockIdentity, DifferencesAreExplainedFromDescriptions) {
  EXPECT_EQ(explain_difference("a: 1\nb: 2\n", "a: 1\nb: 3"), "b: 2 here, 3 there");
  EXPECT_EQ(explain_difference("a: 1\nb: 2\n", "a: 1\n"), "b: 2 here, none there");
  EXPECT_EQ(explain_difference("a: 1\n", "c: x: y\na: 1\n"), "c: none here, x: y there");
  EXPECT_EQ(explain_difference("a: 1\n", "nonsense\n\na: 1"), "");
}

TEST(BlockIdentity, TextCannotMoveBetweenFields) {
  Recipe a, b;
  a.codec_plan = "xy";
  b.codec_plan = "x";
  b.retention = "y";
  EXPECT_NE(recipe_fingerprint(a), recipe_fingerprint(b));
}

TEST(LayerSpec, LikeLayersHaveNoTextAndEveryDifferenceHasOne) {
  const auto like = like_layers(3, {.kv_heads = 2, .head_dim = 64}, {.dims = 64});
  EXPECT_EQ(unlike_layers(like), "");
  auto layers = like;
  layers[1].window = 512;
  EXPECT_EQ(unlike_layers(layers), "1 window=512");
  layers[0].window = 4096;
  layers[1].shape.head_dim = 128;
  layers[2].kv_map = 0;
  layers[2].weights = 1;
  EXPECT_EQ(unlike_layers(layers), "0 window=4096; 1 shape=2x128 window=512; 2 kv=0 weights=1");
  layers = like_layers(2, {.kv_heads = 1, .head_dim = 576, .values_in_keys = 512});
  EXPECT_EQ(unlike_layers(layers), "0 values=512; 1 values=512");  // the shape of the recipe does not say it
  layers = like;
  layers[2].rope.base = 1e6;
  EXPECT_EQ(unlike_layers(layers), "2 rope(" + canonical_rope(layers[2].rope) + ")");
}

TEST(LayerSpec, RefusesLayersThatCannotBe) {
  const auto like = like_layers(3, {.kv_heads = 2, .head_dim = 64});
  EXPECT_TRUE(check_layers(like));
  for (const std::uint32_t values : {8u, 64u}) {
    EXPECT_TRUE(check_layers(like_layers(1, {.kv_heads = 1, .head_dim = 64, .values_in_keys = values})));
  }
  for (const std::uint32_t values : {12u, 72u}) {
    const Status refused = check_layers(like_layers(1, {.kv_heads = 1, .head_dim = 64, .values_in_keys = values}));
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("channels of keys of 64"), std::string::npos) << refused.error().message;
  }
  EXPECT_EQ(check_layers({}).error().code, ErrorCode::kInvalidArgument);
  std::vector<std::vector<LayerSpec>> wrong(5, like);
  wrong[0][1].shape.kv_heads = 0;
  wrong[1][1].kv_map = 2;  // not there yet
  wrong[2][1].kv_map = 7;
  wrong[3][1].kv_map = 0, wrong[3][2].kv_map = 1;  // of a layer that has none
  wrong[4][1].shape.head_dim = 32, wrong[4][1].kv_map = 0;
  for (const auto& layers : wrong) EXPECT_EQ(check_layers(layers).error().code, ErrorCode::kInvalidArgument);
  auto mapped = like;
  mapped[1].kv_map = mapped[2].kv_map = 0;
  EXPECT_TRUE(check_layers(mapped));
}

}  // namespace
}  // namespace cairn
