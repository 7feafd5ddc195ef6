// SPDX-License-Identifier: Apache-2.0
// Latent attention: what is read from files, what is cached, and what is refused. What is computed is compared in
// forward_test.cc and exact_reuse_test.cc.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "cairn/engine/model_tensors.h"
#include "cairn/testing/model_configs.h"
#include "cairn/testing/tiny_engine.h"
#include "cairn/testing/tiny_model.h"

namespace cairn {
namespace {

using testing::config_of;
using testing::expect_refusal;
using testing::identity_of;
using testing::with;
using testing::without;

TinyModel like_lite() {
  return {.arch = "deepseek2", .experts = 8};
}

TinyModel like_v3() {
  return {.arch = "deepseek2", .experts = 8, .like_v3 = true};
}

TEST(Latent, BothFormsOfFilesSayTheSameOfTheCache) {
  for (const TinyModel& tiny : {like_lite(), like_v3()}) {
    const auto config = config_of(tiny.builder());
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(
        config->latent,
        (LatentSpec{.rank = 32, .q_rank = tiny.like_v3 ? 64u : 0u, .plain = 32, .value = 16, .split = tiny.like_v3}));
    EXPECT_EQ(config->heads, 4u);
    for (const LayerSpec& layer : model_layers(*config)) {
      EXPECT_EQ(layer.shape, (PageShape{.kv_heads = 1, .head_dim = 40, .values_in_keys = 32}));
      EXPECT_EQ(layer.rope.first, 32u);
      EXPECT_EQ(layer.rope.dims, 8u);
      EXPECT_EQ(layer.rope.pairing, RopePairing::kNeighbours);
    }
    EXPECT_FALSE(config->each_layer[0].mixed);
    EXPECT_TRUE(config->each_layer[1].mixed);
    // YaRN turns, and the scores have what it does to the magnitude.
    EXPECT_NEAR(config->rope.magnitude(), 1.0, 1e-12);
    const double grown = 1 + static_cast<double>(0.0707f) * std::log(4.0);
    EXPECT_NEAR(config->attention_scale, grown * grown / std::sqrt(40.0), 1e-7);
  }
  EXPECT_EQ(config_of(like_lite().builder())->experts,
            (ExpertSpec{.count = 8, .used = 3, .ffn = 32, .shared_ffn = 64}));
  EXPECT_EQ(config_of(like_v3().builder())->experts, (ExpertSpec{.count = 8,
                                                                 .used = 3,
                                                                 .ffn = 32,
                                                                 .shared_ffn = 64,
                                                                 .normed = true,
                                                                 .scale = 2.5f,
                                                                 .gate = ExpertGate::kSigmoid,
                                                                 .choice_bias = true,
                                                                 .groups = 4,
                                                                 .used_groups = 2}));
}

TEST(Latent, ATokenIsStoredOnce) {
  for (const auto& [codec, bytes] : {std::pair{"raw_f16", 2u}, {"raw_f32", 4u}}) {
    const auto engine = load_tiny(like_v3().builder().build(), {.codec = codec});
    ASSERT_TRUE(engine) << engine.error().message;
    const std::size_t token = 2 * (32 + 8) * bytes;  // of two layers
    EXPECT_EQ((*engine)->cache().bytes_per_token(), token);
    EXPECT_EQ((*engine)->cache().bytes_of(64), 64 * token);
    EXPECT_EQ((*engine)->cache().bytes_for(128), 128 * token);
    // A record has the tokens and one page for each layer.
    const std::size_t page = 64 * 40 * std::size_t{bytes};
    EXPECT_LT((*engine)->cache().stored_block_bytes(false), 4 * page);
    Sequence sequence = (*engine)->open({});
    ASSERT_TRUE((*engine)->prefill(sequence, random_prompt(1, 70)));
    EXPECT_EQ(sequence.bytes_held(), 128 * token);
    EXPECT_EQ(sequence.pages(0)[0].values, sequence.pages(0)[0].keys);
  }
}

TEST(Latent, CodecsThatCannotHoldItAreNamed) {
  const auto bytes = like_lite().builder().build();
  for (const char* codec : {"tok8", "tok4", "kivi2-g32", "zip", "tok4/raw_f16"}) {
    const auto engine = load_tiny(bytes, {.codec = codec});
    ASSERT_FALSE(engine) << codec;
    EXPECT_EQ(engine.error().code, ErrorCode::kUnsupported);
    EXPECT_NE(engine.error().message.find("(latent attention)"), std::string::npos) << engine.error().message;
  }
  const auto two = load_tiny(bytes, {.codec = "raw_f16/raw_f32"});
  ASSERT_FALSE(two);
  EXPECT_NE(two.error().message.find("name one codec"), std::string::npos) << two.error().message;
}

TEST(Latent, LengthsMustAgree) {
  const auto lite = like_lite(), v3 = like_v3();
  const std::string attention = "deepseek2.attention.";
  expect_refusal(without(attention + "kv_lora_rank"), ErrorCode::kNotFound, "kv_lora_rank", lite);
  expect_refusal(without("deepseek2.rope.dimension_count"), ErrorCode::kNotFound, "dimension_count", lite);
  expect_refusal(with(attention + "kv_lora_rank", 24u), ErrorCode::kCorrupt, "asks for [32, 32]", lite);
  expect_refusal(with(attention + "kv_lora_rank", 520u), ErrorCode::kCorrupt, "must be 1 to 512", lite);
  expect_refusal(with(attention + "kv_lora_rank", 20u), ErrorCode::kUnsupported, "multiples of 8", lite);
  expect_refusal(with(attention + "kv_lora_rank", 16u), ErrorCode::kCorrupt, "ask for 24", v3);
  expect_refusal(with(attention + "value_length", 16u), ErrorCode::kCorrupt, "value_length' is 16", v3);
  expect_refusal(with(attention + "head_count_kv", 4u), ErrorCode::kCorrupt, "head_count_kv' is 4", v3);
  expect_refusal(with(attention + "head_count_kv", 2u), ErrorCode::kCorrupt, "head_count_kv' is 2", lite);
  expect_refusal(with(attention + "key_length", 8u), ErrorCode::kCorrupt, "none beside the 8 that turn", lite);
  expect_refusal(with(attention + "key_length_mla", 48u), ErrorCode::kCorrupt, "asks for", v3);
  expect_refusal(with(attention + "q_lora_rank", 32u), ErrorCode::kNotFound, "attn_q_a.weight", lite);
  expect_refusal(with(attention + "q_lora_rank", 0u), ErrorCode::kNotFound, "attn_q.weight", v3);
  expect_refusal(with(attention + "scale", 0.5f), ErrorCode::kUnsupported, "attention.scale", v3);
}

TEST(Latent, ScalingThatCouldMeanTwoThingsIsRefused) {
  const auto v3 = like_v3();
  const std::string scaling = "deepseek2.rope.scaling.";
  expect_refusal(without(scaling + "yarn_log_multiplier"), ErrorCode::kUnsupported, "no yarn_log_multiplier", v3);
  expect_refusal(with(scaling + "attn_factor", 1.5f), ErrorCode::kUnsupported, "an attn_factor", v3);
  expect_refusal(with(scaling + "yarn_ext_factor", 0.5f), ErrorCode::kUnsupported, "a yarn_ext_factor", v3);
  const auto linear = [&](GgufBuilder& b) {
    b.erase(scaling + "yarn_log_multiplier").erase(scaling + "type").set(scaling + "type", "linear");
  };
  expect_refusal(linear, ErrorCode::kUnsupported, "type linear", v3);
  GgufBuilder plain = v3.builder();
  plain.erase(scaling + "type").erase(scaling + "factor").erase(scaling + "yarn_log_multiplier");
  plain.erase(scaling + "original_context_length");
  const auto config = config_of(plain);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_FLOAT_EQ(config->attention_scale, 1 / std::sqrt(40.0f));
}

TEST(Latent, ExpertsInGroupsMustMakeSense) {
  const auto lite = like_lite(), v3 = like_v3();
  const std::string expert = "deepseek2.expert_";
  expect_refusal(with(expert + "group_count", 3u), ErrorCode::kCorrupt, "do not make 3 groups", v3);
  expect_refusal(with(expert + "group_count", 8u), ErrorCode::kCorrupt, "do not make 8 groups", v3);
  expect_refusal(with(expert + "group_used_count", 5u), ErrorCode::kCorrupt, "group_used_count", v3);
  expect_refusal(with(expert + "group_used_count", 1u), ErrorCode::kCorrupt, "among the 2 of 1 groups", v3);
  expect_refusal(without(expert + "group_used_count"), ErrorCode::kNotFound, "group_used_count", v3);
  expect_refusal(with(expert + "gating_func", 4u), ErrorCode::kUnsupported, "expert_gating_func' is 4", v3);
  expect_refusal(without(expert + "gating_func"), ErrorCode::kNotFound, "expert_gating_func' is missing", v3);
  expect_refusal(with(expert + "shared_count", 3u), ErrorCode::kCorrupt, "asks for [32, 96]", lite);
  expect_refusal(with(expert + "shared_count", 0u), ErrorCode::kUnsupported, "shexp", lite);
  expect_refusal(with("deepseek2.leading_dense_block_count", 3u), ErrorCode::kCorrupt, "must be 0 to 2", lite);
  expect_refusal(with("deepseek2.leading_dense_block_count", 0u), ErrorCode::kNotFound, "blk.0.ffn_gate_inp", lite);
  expect_refusal(with("deepseek2.nextn_predict_layers", 1u), ErrorCode::kUnsupported, "nextn_predict_layers", v3);
}

TEST(Latent, EveryTensorIsMissed) {
  for (const TinyModel& tiny : {like_lite(), like_v3()}) {
    const auto config = config_of(tiny.builder());
    ASSERT_TRUE(config) << config.error().message;
    for (const TensorNeed& need : layer_needs(*config, 1)) {
      if (need.name.ends_with("exp_probs_b.bias")) continue;  // its presence decides
      expect_refusal(
          [&](GgufBuilder& b) {
            std::erase_if(b.tensors(), [&](const auto& tensor) { return tensor.name == need.name; });
          },
          ErrorCode::kNotFound, need.name, tiny);
    }
  }
}

TEST(Latent, NumbersThatChangeResultsChangeTheIdentity) {
  const auto identity = [](const std::function<void(GgufBuilder&)>& change) {
    GgufBuilder builder = like_v3().builder();
    change(builder);
    return identity_of(builder);
  };
  const std::string plain = identity([](GgufBuilder&) {});
  for (const char* key : {"expert_gating_func", "expert_group_count", "expert_group_used_count", "expert_used_count"}) {
    const std::uint32_t other = std::string(key) == "expert_group_used_count" ? 3
                                : std::string(key).ends_with("used_count")    ? 4
                                : std::string(key) == "expert_group_count"    ? 2
                                                                              : 1;
    EXPECT_NE(identity(with(std::string("deepseek2.") + key, other)), plain) << key;
  }
  EXPECT_NE(identity(with("deepseek2.expert_weights_norm", false)), plain);
  EXPECT_NE(identity(with("deepseek2.expert_weights_scale", 1.0f)), plain);
  EXPECT_NE(identity(with("deepseek2.rope.scaling.yarn_log_multiplier", 0.1f)), plain);
}

}  // namespace
}  // namespace cairn
