// SPDX-License-Identifier: Apache-2.0
// What single architectures have beyond Llama, and what is refused because nobody would read it.
#include "cairn/engine/architecture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "cairn/testing/gguf_builder.h"
#include "cairn/testing/model_configs.h"
#include "cairn/testing/tiny_model.h"

namespace cairn {
namespace {

using testing::config_of;
using testing::expect_refusal;
using testing::identity_of;
using testing::with;
using testing::without;

// The 27B models of these families divide scores by the root of width / heads, which their files do not say.
TEST(Architecture, ScoresAreScaledAsTheModelWasTrained) {
  const auto scale = [](const TinyModel& tiny) { return config_of(tiny.builder())->attention_scale; };
  EXPECT_EQ(scale({.arch = "gemma3", .layers = 62, .head_dim = 16}), 1 / std::sqrt(8.0f));
  EXPECT_EQ(scale({.arch = "gemma2", .layers = 46, .head_dim = 16}), 1 / std::sqrt(8.0f));
  EXPECT_EQ(scale({.arch = "gemma3", .layers = 46, .head_dim = 16}), 0.25f);
  GgufBuilder builder = TinyModel{}.builder();
  builder.set("llama.attention.scale", 0.125f);
  EXPECT_EQ(config_of(builder)->attention_scale, 0.125f);
}

TEST(Architecture, WindowsAndTheirPatternAreThoseOfTheFile) {
  const auto windows = [](const std::function<void(GgufBuilder&)>& change) {
    GgufBuilder builder = TinyModel{.arch = "gemma3", .layers = 12}.builder();
    builder.erase("gemma3.attention.sliding_window_pattern");
    change(builder);
    const auto config = config_of(builder);
    EXPECT_TRUE(config) << config.error().message;
    std::string text;
    for (const LayerSpec& layer : model_layers(*config)) {
      EXPECT_TRUE(layer.window == 0 || layer.window == 20);
      EXPECT_EQ(layer.rope.scaling, layer.window == 0 ? RopeScaling::kLinear : RopeScaling::kNone);
      text += layer.window == 0 ? 'o' : 'w';
    }
    return text;
  };
  EXPECT_EQ(windows([](GgufBuilder&) {}), "wwwwwowwwwwo");
  EXPECT_EQ(windows(with("gemma3.attention.sliding_window_pattern", 4u)), "wwwowwwowwwo");
  EXPECT_EQ(windows(with("gemma3.attention.sliding_window_pattern", 1u)), "oooooooooooo");
  std::vector<std::byte> flags(12, std::byte{1});
  flags[3] = std::byte{0};
  const std::vector<std::byte> payload =
      ByteWriter().number(std::uint32_t{7}).number(std::uint64_t{12}).bytes(flags).take();
  EXPECT_EQ(
      windows([&](GgufBuilder& b) { b.raw("gemma3.attention.sliding_window_pattern", GgufBuilder::kArray, payload); }),
      "wwwowwwwwwww");
  EXPECT_EQ(windows(with("gemma3.attention.sliding_window", 0u)), "oooooooooooo");

  const TinyModel gemma{.arch = "gemma3"};
  expect_refusal(with("gemma3.attention.sliding_window", 0xffffffffu), ErrorCode::kCorrupt, "sliding_window'", gemma);
  expect_refusal(
      [&](GgufBuilder& b) {
        b.erase("gemma3.attention.sliding_window_pattern")
            .raw("gemma3.attention.sliding_window_pattern", GgufBuilder::kArray, payload);
      },
      ErrorCode::kCorrupt, "each of 2 layers", gemma);
  expect_refusal(with("gemma3.rope.freq_base_swa", 0.5f), ErrorCode::kCorrupt, "freq_base_swa' must be above 1", gemma);

  // An architecture without a pattern: all layers have the window, and rotate as they would without it.
  GgufBuilder mistral = TinyModel{}.builder();
  mistral.set("llama.attention.sliding_window", 100u);
  const auto config = config_of(mistral);
  ASSERT_TRUE(config) << config.error().message;
  for (const LayerSpec& layer : model_layers(*config)) {
    EXPECT_EQ(layer.window, 100u);
    EXPECT_EQ(layer.rope, config->rope);
  }
}

TEST(Architecture, EveryFourthLayerOfSmolLm3DoesNotRotate) {
  const auto config = config_of(TinyModel{.arch = "smollm3", .layers = 8}.builder());
  ASSERT_TRUE(config) << config.error().message;
  const auto layers = model_layers(*config);
  for (std::uint32_t l = 0; l < 8; ++l) EXPECT_EQ(layers[l].rope.dims, l == 3 || l == 7 ? 0u : 8u);
}

TEST(Architecture, PhiTakesTheFactorsOfItsContext) {
  GgufBuilder builder = TinyModel{.arch = "phi3", .head_dim = 16}.builder();
  const auto long_context = config_of(builder);
  ASSERT_TRUE(long_context) << long_context.error().message;
  EXPECT_GT(long_context->rope.freq_factors.at(0), 3.0f);
  EXPECT_EQ(long_context->rope.attn_factor, static_cast<double>(1.19f));
  EXPECT_EQ(long_context->rope.scaling, RopeScaling::kNone);
  builder.set("phi3.rope.scaling.type", "longrope");
  EXPECT_EQ(config_of(builder)->rope, long_context->rope);
  builder.erase("phi3.context_length").set("phi3.context_length", 128u);
  EXPECT_LT(config_of(builder)->rope.freq_factors.at(0), 2.0f);
}

TEST(Architecture, MistralSharpensItsQueries) {
  const auto config = config_of(TinyModel{.arch = "mistral3"}.builder());
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->sharpening, 0.5f);
  EXPECT_EQ(config->sharpened_every, 32u);
  EXPECT_NEAR(config->rope.magnitude(), 1.0, 1e-12);  // the log multiplier undoes what YaRN does to it
}

TEST(Architecture, ExpertsMustMakeSense) {
  const TinyModel mixtral{.experts = 8};
  expect_refusal(with("llama.expert_used_count", 9u), ErrorCode::kCorrupt, "expert_used_count' must be 1 to 8",
                 mixtral);
  expect_refusal(with("llama.expert_used_count", 0u), ErrorCode::kCorrupt, "expert_used_count", mixtral);
  expect_refusal(with("llama.expert_count", 0xffffffffu), ErrorCode::kCorrupt, "expert_count", mixtral);
  expect_refusal(with("llama.expert_count", 7u), ErrorCode::kCorrupt, "asks for [32, 7]", mixtral);
  expect_refusal(with("llama.expert_feed_forward_length", 16u), ErrorCode::kCorrupt, "asks for [32, 16, 8]", mixtral);
  expect_refusal(with("llama.expert_gating_func", 2u), ErrorCode::kUnsupported, "expert_gating_func' is 2", mixtral);
  expect_refusal(with("llama.expert_weights_scale", -1.0f), ErrorCode::kCorrupt, "expert_weights_scale", mixtral);
  expect_refusal(without("qwen3moe.expert_count"), ErrorCode::kNotFound, "'qwen3moe.expert_count' is missing",
                 {.arch = "qwen3moe", .experts = 8});
  expect_refusal(with("qwen3.expert_count", 8u), ErrorCode::kUnsupported, "mixture of 8 experts", {.arch = "qwen3"});
  expect_refusal(with("llama.leading_dense_block_count", 1u), ErrorCode::kUnsupported, "leading_dense", mixtral);
}

TEST(Architecture, SinksAndBiasesOfGptOssMustBeThere) {
  const TinyModel tiny{.arch = "gpt-oss", .layers = 4, .experts = 8};
  const auto config = config_of(tiny.builder());
  ASSERT_TRUE(config) << config.error().message;
  const auto layers = model_layers(*config);
  for (std::uint32_t l = 0; l < 4; ++l) {
    EXPECT_EQ(layers[l].window, l % 2 == 0 ? 20u : 0u);
    EXPECT_EQ(layers[l].rope.scaling, RopeScaling::kYarn);  // with the window too
  }
  const auto other_shape = [](const std::string& name, std::vector<std::uint64_t> dims) {
    return [=](GgufBuilder& builder) {
      auto& tensor = *std::ranges::find(builder.tensors(), name, &GgufBuilder::Tensor::name);
      std::uint64_t count = 1;
      for (const std::uint64_t dim : dims) count *= dim;
      tensor.dims = dims;
      tensor.data.resize(count * sizeof(float));
    };
  };
  expect_refusal(other_shape("blk.1.attn_sinks.weight", {3}), ErrorCode::kCorrupt,
                 "'blk.1.attn_sinks.weight' has shape [3], but the metadata asks for [4]", tiny);
  expect_refusal(other_shape("blk.1.attn_sinks.weight", {4, 2}), ErrorCode::kCorrupt, "shape [4, 2]", tiny);
  expect_refusal(other_shape("blk.0.ffn_up_exps.bias", {32, 7}), ErrorCode::kCorrupt, "asks for [32, 8]", tiny);
  expect_refusal(other_shape("blk.0.ffn_gate_inp.bias", {7}), ErrorCode::kCorrupt, "asks for [8]", tiny);
  for (const char* name : {"attn_sinks.weight", "attn_q.bias", "attn_output.bias", "ffn_gate_inp.bias",
                           "ffn_gate_exps.bias", "ffn_down_exps.bias", "post_attention_norm.weight"}) {
    const std::string full = std::string("blk.2.") + name;
    expect_refusal(
        [&](GgufBuilder& b) { std::erase_if(b.tensors(), [&](const auto& tensor) { return tensor.name == full; }); },
        ErrorCode::kNotFound, "lacks tensor '" + full + "'", tiny);
  }
  expect_refusal(with("gpt-oss.expert_gating_func", 1u), ErrorCode::kUnsupported, "this build knows 3", tiny);
  expect_refusal(with("gpt-oss.expert_count", 0u), ErrorCode::kNotFound, "expert_count' is missing", tiny);
  expect_refusal(with("gpt-oss.expert_count", 9u), ErrorCode::kCorrupt, "asks for [32, 9]", tiny);
  expect_refusal(with("gpt-oss.expert_used_count", 9u), ErrorCode::kCorrupt, "must be 1 to 8", tiny);
  GgufBuilder said = tiny.builder();
  said.set("gpt-oss.expert_gating_func", 3u).set("gpt-oss.expert_weights_norm", false);
  EXPECT_TRUE(config_of(said)->experts.normed);  // a softmax over the chosen alone sums to 1
}

TEST(Architecture, MetadataThatNobodyReadsIsRefusedUnlessItIsOff) {
  expect_refusal(with("llama.attn_logit_softcapping", 50.0f), ErrorCode::kUnsupported,
                 "metadata 'llama.attn_logit_softcapping' (50) is unknown to this build");
  expect_refusal(with("llama.attention.max_alibi_bias", 8.0f), ErrorCode::kUnsupported, "max_alibi_bias");
  expect_refusal(with("qwen3.expert_gating_func", 2u), ErrorCode::kUnsupported, "expert_gating_func",
                 {.arch = "qwen3"});
  expect_refusal(with("llama.use_parallel_residual", true), ErrorCode::kUnsupported, "use_parallel_residual");
  expect_refusal(with("llama.attention.causal", false), ErrorCode::kUnsupported, "attention.causal");
  GgufBuilder builder = TinyModel{}.builder();
  builder.set("llama.attn_logit_softcapping", 0.0f).set("llama.use_parallel_residual", false).set("llama.note", "");
  builder.set("llama.vocab_size", 40u).set("llama.attention.causal", true).set("qwen2.attn_logit_softcapping", 50.0f);
  EXPECT_TRUE(config_of(builder));
}

// Two files with the same tensors whose results differ must not share blocks.
TEST(Architecture, NumbersThatChangeResultsChangeTheIdentity) {
  const auto expect_other = [&](const TinyModel& model, const std::string& key, auto value) {
    GgufBuilder changed = model.builder();
    with(key, value)(changed);
    EXPECT_NE(identity_of(changed), identity_of(model.builder())) << key;
  };
  const TinyModel granite{.arch = "granite"}, gemma{.arch = "gemma2"}, mixtral{.experts = 8},
      qwen{.arch = "qwen3moe", .experts = 8};
  for (const char* scale : {"attention.scale", "embedding_scale", "residual_scale", "logit_scale"}) {
    expect_other(granite, std::string("granite.") + scale, 0.375f);
  }
  expect_other(gemma, "gemma2.attn_logit_softcapping", 7.0f);
  expect_other(gemma, "gemma2.final_logit_softcapping", 7.0f);
  expect_other(gemma, "gemma2.attention.sliding_window", 33u);
  expect_other(mixtral, "llama.expert_used_count", 2u);
  expect_other(mixtral, "llama.expert_weights_scale", 0.5f);
  expect_other(qwen, "qwen3moe.expert_weights_norm", false);
  const TinyModel gpt_oss{.arch = "gpt-oss", .experts = 8};
  expect_other(gpt_oss, "gpt-oss.attention.sliding_window", 33u);
  expect_other(gpt_oss, "gpt-oss.expert_used_count", 2u);
}

TEST(Architecture, NumbersThatCannotBeComputedWithAreRefused) {
  expect_refusal(with("granite.logit_scale", 1e-39f), ErrorCode::kCorrupt, "must lie between 1e-6 and 1e6",
                 {.arch = "granite"});
  expect_refusal(with("gemma2.attn_logit_softcapping", 3e38f), ErrorCode::kCorrupt, "must lie between",
                 {.arch = "gemma2"});
  expect_refusal(with("granite.rope.scaling.finetuned", false), ErrorCode::kUnsupported, "do not rotate",
                 {.arch = "granite"});
}

}  // namespace
}  // namespace cairn
