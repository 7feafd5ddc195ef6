// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/model_config.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "cairn/engine/model_tensors.h"
#include "cairn/testing/gguf_builder.h"
#include "cairn/testing/model_configs.h"
#include "cairn/testing/tiny_model.h"

namespace cairn {
namespace {

using testing::config_of;
using testing::expect_refusal;
using testing::with;
using testing::without;

GgufBuilder::Tensor& named(GgufBuilder& builder, const std::string& name) {
  return *std::ranges::find(builder.tensors(), name, &GgufBuilder::Tensor::name);
}

struct ArchCase {
  const char* name;
  RopePairing pairing = RopePairing::kHalves;
  bool qkv_bias = false;
  QkNorm qk_norm = QkNorm::kNone;
  std::uint32_t global_every = 1;   // layers with a window between those that see everything
  double window_rope_base = 10000;  // 0: they rotate as the others
  bool post_norms = false;
  Activation activation = Activation::kSilu;
  float embedding_scale = 1, attention_cap = 0, logit_cap = 0;
  std::uint32_t experts = 0;  // of the tiny model
  bool experts_normed = false;
  std::uint32_t shared_ffn = 0;
  bool fused = false;
  float attention_scale = 0.25f, residual_scale = 1, logit_scale = 1;
  std::uint32_t rope_dims = 16;
  bool sinks_and_biases = false;
};

constexpr float kRootOfWidth = 5.65685425f;  // of 32

constexpr ArchCase kArchCases[] = {
    {.name = "llama", .pairing = RopePairing::kNeighbours},
    {.name = "qwen2", .qkv_bias = true},
    {.name = "qwen3", .qk_norm = QkNorm::kHead},
    {.name = "gemma", .activation = Activation::kGelu, .embedding_scale = kRootOfWidth},
    {.name = "gemma2",
     .global_every = 2,
     .post_norms = true,
     .activation = Activation::kGelu,
     .embedding_scale = kRootOfWidth,
     .attention_cap = 2,
     .logit_cap = 3},
    {.name = "gemma3",
     .qk_norm = QkNorm::kHead,
     .global_every = 2,
     .post_norms = true,
     .activation = Activation::kGelu,
     .embedding_scale = kRootOfWidth},
    {.name = "phi3", .fused = true, .rope_dims = 8},
    {.name = "granite",
     .pairing = RopePairing::kNeighbours,
     .embedding_scale = 3,
     .attention_scale = 0.2f,
     .residual_scale = 0.25f,
     .logit_scale = 4},
    {.name = "smollm3", .pairing = RopePairing::kNeighbours},
    {.name = "mistral3", .pairing = RopePairing::kNeighbours},
    {.name = "llama", .pairing = RopePairing::kNeighbours, .experts = 8, .experts_normed = true},
    {.name = "qwen3moe", .qk_norm = QkNorm::kHead, .experts = 8, .experts_normed = true},
    {.name = "qwen2moe", .qkv_bias = true, .experts = 6, .shared_ffn = 32},
    {.name = "olmoe", .qk_norm = QkNorm::kWhole, .experts = 4},
    {.name = "gpt-oss",
     .qkv_bias = true,
     .global_every = 2,
     .window_rope_base = 0,
     .activation = Activation::kClampedSilu,
     .experts = 8,
     .experts_normed = true,
     .sinks_and_biases = true},
};

TEST(ModelConfig, ReadsEveryArchitecture) {
  for (const ArchCase& arch : kArchCases) {
    SCOPED_TRACE(arch.name);
    const TinyModel tiny{.arch = arch.name, .head_dim = 16, .tied_output = arch.qkv_bias, .experts = arch.experts};
    const auto config = config_of(tiny.builder());
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->arch, arch.name);
    EXPECT_EQ(config->name, "tiny");
    EXPECT_EQ(config->layers, 2u);
    EXPECT_EQ(config->width, 32u);
    EXPECT_EQ(config->ffn, 64u);
    EXPECT_EQ(config->heads, 4u);
    EXPECT_EQ(config->kv_heads, 2u);
    EXPECT_EQ(config->head_dim, 16u);
    EXPECT_EQ(config->vocab, 40u);
    EXPECT_EQ(config->context, 256u);
    EXPECT_EQ(config->rms_eps, 1e-5f);
    EXPECT_EQ(config->attention_scale, arch.attention_scale);
    EXPECT_EQ(config->rope.pairing, arch.pairing);
    EXPECT_EQ(config->rope.dims, arch.rope_dims);
    ASSERT_EQ(config->each_layer.size(), 2u);
    for (std::uint32_t l = 0; l < 2; ++l) {
      LayerSpec own{.shape = {2, 16}, .rope = config->rope, .kv_map = l, .weights = l};
      if (l % arch.global_every + 1 < arch.global_every) {
        own.window = 20;
        if (arch.window_rope_base != 0) {
          own.rope = {.dims = 16, .pairing = arch.pairing, .base = arch.window_rope_base, .original_context = 256};
        }
      }
      EXPECT_EQ(config->each_layer[l], (ModelLayer{.cache = own, .ffn = 64, .mixed = arch.experts != 0})) << l;
    }
    EXPECT_EQ(config->tied_output, tiny.tied_output);
    EXPECT_EQ(config->qkv_bias, arch.qkv_bias);
    EXPECT_EQ(config->output_bias, arch.sinks_and_biases);
    EXPECT_EQ(config->sinks, arch.sinks_and_biases);
    EXPECT_EQ(config->late_ffn_norm, arch.sinks_and_biases);
    EXPECT_EQ(config->qk_norm, arch.qk_norm);
    EXPECT_EQ(config->post_norms, arch.post_norms);
    EXPECT_EQ(config->activation, arch.activation);
    EXPECT_EQ(config->embedding_scale, arch.embedding_scale);
    EXPECT_EQ(config->attention_cap, arch.attention_cap);
    EXPECT_EQ(config->logit_cap, arch.logit_cap);
    EXPECT_EQ(config->residual_scale, arch.residual_scale);
    EXPECT_EQ(config->logit_scale, arch.logit_scale);
    EXPECT_EQ(config->fused, arch.fused);
    ExpertSpec experts{.count = arch.experts};
    if (arch.experts != 0)
      experts = {arch.experts, 3, 32, arch.shared_ffn, arch.experts_normed, 1.0f, arch.sinks_and_biases};
    experts.shared_gate = arch.shared_ffn != 0;
    EXPECT_EQ(config->experts, experts);
  }
}

TEST(ModelConfig, OptionalMetadataHasDefaults) {
  GgufBuilder builder = TinyModel{.kv_heads = 4}.builder();
  builder.erase("llama.attention.head_count_kv").erase("llama.attention.key_length");
  builder.erase("llama.attention.value_length").erase("general.name").erase("tokenizer.ggml.tokens");
  const auto config = config_of(builder);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->kv_heads, 4u);
  EXPECT_EQ(config->head_dim, 8u);
  EXPECT_EQ(config->name, "");
}

// The first files of Qwen's mixtures: what the experts of a token have together is the feed-forward's width.
TEST(ModelConfig, ExpertsOfOldFilesShareTheWidth) {
  for (const auto& [arch, ffn] : {std::pair("qwen3moe", 32u), std::pair("qwen2moe", 32u), std::pair("olmoe", 96u)}) {
    SCOPED_TRACE(arch);
    GgufBuilder builder = TinyModel{.arch = arch, .ffn = 96, .experts = 6, .expert_ffn = ffn}.builder();
    const std::string prefix = arch;
    builder.erase(prefix + ".expert_feed_forward_length");
    const auto config = config_of(builder);
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->experts.ffn, ffn);
    builder.erase(prefix + ".feed_forward_length").set(prefix + ".feed_forward_length", std::uint32_t{2});
    EXPECT_FALSE(config_of(builder));  // less than the 3 experts of a token
  }
}

TEST(ModelConfig, BiasesAreAcceptedInLlamaButOnlyTogether) {
  const std::vector<float> q(32);
  const std::vector<float> kv(16);
  GgufBuilder builder = TinyModel{.layers = 1}.builder();
  builder.tensor_f32("blk.0.attn_q.bias", {32}, q);
  builder.tensor_f32("blk.0.attn_k.bias", {16}, kv);
  const auto incomplete = config_of(builder);
  ASSERT_FALSE(incomplete);
  EXPECT_NE(incomplete.error().message.find("'blk.0.attn_v.bias'"), std::string::npos);
  builder.tensor_f32("blk.0.attn_v.bias", {16}, kv);
  const auto complete = config_of(builder);
  ASSERT_TRUE(complete) << complete.error().message;
  EXPECT_TRUE(complete->qkv_bias);
}

TEST(ModelConfig, HalfPrecisionNormsAreAccepted) {
  GgufBuilder builder = TinyModel{}.builder();
  named(builder, "output_norm.weight").type = TinyModel::kF16;
  EXPECT_TRUE(config_of(builder));
}

TEST(ModelConfig, MissingOrImpossibleMetadata) {
  for (const char* key :
       {"general.architecture", "llama.block_count", "llama.embedding_length", "llama.feed_forward_length",
        "llama.attention.head_count", "llama.context_length", "llama.attention.layer_norm_rms_epsilon"}) {
    expect_refusal(without(key), ErrorCode::kNotFound, key);
  }
  for (const char* key : {"llama.block_count", "llama.embedding_length", "llama.feed_forward_length",
                          "llama.attention.head_count", "llama.attention.head_count_kv", "llama.context_length"}) {
    expect_refusal(with(key, 0u), ErrorCode::kCorrupt, key);
    expect_refusal(with(key, 0xffffffffu), ErrorCode::kCorrupt, key);
    expect_refusal(with(key, "four"), ErrorCode::kCorrupt, key);
  }
  expect_refusal(with("llama.attention.head_count_kv", 3u), ErrorCode::kCorrupt, "evenly");
  expect_refusal(with("llama.attention.layer_norm_rms_epsilon", -1.0f), ErrorCode::kCorrupt, "between 0 and 1");
  expect_refusal(with("llama.attention.layer_norm_rms_epsilon", 0.0f / 0.0f), ErrorCode::kCorrupt, "between 0 and 1");
  expect_refusal(with("llama.attention.value_length", 16u), ErrorCode::kUnsupported, "differing lengths");
  expect_refusal(
      [](GgufBuilder& b) { with("llama.attention.key_length", 12u)(b), with("llama.attention.value_length", 12u)(b); },
      ErrorCode::kUnsupported, "multiple of 8");
}

TEST(ModelConfig, OtherModelsAreNamed) {
  expect_refusal(with("general.architecture", "mamba"), ErrorCode::kUnsupported,
                 "architecture 'mamba' is not supported; this build runs llama, qwen2, qwen3, gemma, gemma2, gemma3, "
                 "phi3, granite, "
                 "smollm3, mistral3, qwen3moe, qwen2moe, deepseek2, olmoe, gpt-oss");
}

TEST(ModelConfig, TensorsMustMatchTheMetadata) {
  const auto drop = [](const std::string& name) {
    return [=](GgufBuilder& b) { std::erase_if(b.tensors(), [&](const auto& tensor) { return tensor.name == name; }); };
  };
  for (const char* name :
       {"token_embd.weight", "output_norm.weight", "blk.0.attn_norm.weight", "blk.1.attn_q.weight",
        "blk.1.attn_k.weight", "blk.0.attn_v.weight", "blk.1.attn_output.weight", "blk.1.ffn_norm.weight",
        "blk.0.ffn_gate.weight", "blk.0.ffn_up.weight", "blk.1.ffn_down.weight"}) {
    expect_refusal(drop(name), ErrorCode::kNotFound, name);
  }
  expect_refusal(drop("blk.1.attn_k.bias"), ErrorCode::kNotFound, "blk.1.attn_k.bias", {.arch = "qwen2"});
  expect_refusal(drop("blk.1.attn_k_norm.weight"), ErrorCode::kNotFound, "blk.1.attn_k_norm", {.arch = "qwen3"});

  expect_refusal(
      [](GgufBuilder& b) {
        std::swap(named(b, "blk.0.ffn_up.weight").dims[0], named(b, "blk.0.ffn_up.weight").dims[1]);
      },
      ErrorCode::kCorrupt, "'blk.0.ffn_up.weight' has shape [64, 32], but the metadata asks for [32, 64]");
  expect_refusal([](GgufBuilder& b) { named(b, "blk.1.ffn_norm.weight").dims[0] = 31; }, ErrorCode::kCorrupt,
                 "has shape [31], but the metadata asks for [32]");
  expect_refusal([](GgufBuilder& b) { named(b, "blk.1.attn_q.weight").type = 9; }, ErrorCode::kUnsupported,
                 "'blk.1.attn_q.weight' has type Q8_1 (9)");
  expect_refusal([](GgufBuilder& b) { named(b, "blk.1.attn_norm.weight").type = 8; }, ErrorCode::kUnsupported,
                 "norms and biases must be F32, F16 or BF16");
  expect_refusal(with("llama.block_count", 3u), ErrorCode::kNotFound, "'blk.2.attn_norm.weight'");
  expect_refusal(with("llama.block_count", 1u), ErrorCode::kUnsupported, "is not part of a llama model");
  expect_refusal([](GgufBuilder& b) { b.tensor_f32("blk.0.attn_output.bias", {32}, std::vector<float>(32)); },
                 ErrorCode::kUnsupported, "'blk.0.attn_output.bias' is not part of a llama model");
}

TEST(ModelConfig, TokenizerMustCoverTheVocabulary) {
  expect_refusal(
      [](GgufBuilder& b) {
        b.erase("tokenizer.ggml.tokens").array("tokenizer.ggml.tokens", std::vector<std::string>(39));
      },
      ErrorCode::kCorrupt, "39 tokens");
}

TEST(ModelConfig, ReadsATrainedModel) {
  const std::string path = CAIRN_SOURCE_DIR "/../shared/data/stories260K/stories260K.gguf";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is absent";
  const auto file = GgufFile::open(path);
  ASSERT_TRUE(file) << file.error().message;
  const auto config = ModelConfig::from_gguf(*file);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->arch, "llama");
  EXPECT_EQ(config->layers, 5u);
  EXPECT_EQ(config->width, 64u);
  EXPECT_EQ(config->ffn, 172u);
  EXPECT_EQ(config->heads, 8u);
  EXPECT_EQ(config->kv_heads, 4u);
  EXPECT_EQ(config->head_dim, 8u);
  EXPECT_EQ(config->vocab, 512u);
  EXPECT_EQ(config->context, 2048u);
  EXPECT_FALSE(config->tied_output);
  EXPECT_EQ(config->rope, (RopeSpec{.dims = 8, .original_context = 2048}));
  const auto tokens = file->get<std::vector<std::string_view>>("tokenizer.ggml.tokens");
  ASSERT_TRUE(tokens);
  EXPECT_EQ((*tokens)[1], "<s>");
}

TEST(ModelConfig, TensorsAreThoseOfEachLayersOwnWidths) {
  const auto file_bytes = TinyModel{}.builder().build();
  ModelConfig config = *ModelConfig::from_gguf(*GgufFile::parse(file_bytes));
  config.each_layer[1].ffn = 128;
  config.each_layer[1].cache.shape = {.kv_heads = 4, .head_dim = 16};
  const auto need = [&](std::uint32_t layer, const std::string& name) {
    const std::vector<TensorNeed> needs = layer_needs(config, layer);
    return *std::ranges::find(needs, layer_tensor(layer, name), &TensorNeed::name);
  };
  EXPECT_EQ(need(0, "ffn_down.weight").cols, 64u);
  EXPECT_EQ(need(1, "ffn_down.weight").cols, 128u);
  EXPECT_EQ(need(1, "ffn_gate.weight").rows, 128u);
  EXPECT_EQ(need(0, "attn_k.weight").rows, 16u);
  EXPECT_EQ(need(1, "attn_k.weight").rows, 64u);
  EXPECT_EQ(need(0, "attn_q.weight").rows, 32u);
  EXPECT_EQ(need(1, "attn_q.weight").rows, 64u);
}

}  // namespace
}  // namespace cairn
