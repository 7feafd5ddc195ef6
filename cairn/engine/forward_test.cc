// SPDX-License-Identifier: Apache-2.0
// The forward pass beside one of plain loops in doubles.
#include "cairn/engine/forward.h"

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "cairn/testing/plain_model.h"
#include "cairn/testing/tiny_engine.h"
#include "cairn/testing/tiny_model.h"

namespace cairn {
namespace {

struct Case {
  std::string name, arch;
  bool tied = false, yarn = false;
  std::uint32_t head_dim = 8;
  std::uint32_t experts = 0;
  bool like_v3 = false;
};

void PrintTo(const Case& model, std::ostream* out) {
  *out << model.name;
}

class ForwardOf : public ::testing::TestWithParam<Case> {};

TEST_P(ForwardOf, EqualsPlainLoopsInDoubles) {
  TinyModel tiny;
  tiny.arch = GetParam().arch;
  tiny.tied_output = GetParam().tied;
  tiny.head_dim = GetParam().head_dim;
  tiny.experts = GetParam().experts;
  tiny.like_v3 = GetParam().like_v3;
  if (tiny.arch == "smollm3") tiny.layers = 5;  // the fourth does not rotate
  GgufBuilder builder = tiny.builder();
  if (GetParam().yarn) {
    builder.set(tiny.arch + ".rope.scaling.type", "yarn").set(tiny.arch + ".rope.scaling.factor", 4.0f);
    builder.set(tiny.arch + ".rope.scaling.original_context_length", std::uint32_t{64});
  }
  const auto bytes = builder.build();
  const auto engine = load_tiny(bytes, {.threads = 2, .codec = "raw_f32"});
  ASSERT_TRUE(engine) << engine.error().message;
  const auto file = GgufFile::parse(bytes);
  ASSERT_TRUE(file);
  PlainModel plain(*file, *ModelConfig::from_gguf(*file));

  std::vector<TokenId> tokens(75);
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<TokenId>((i * i * 7 + i) % tiny.vocab);
  Sequence sequence = (*engine)->open({});
  const std::size_t prompt = 70;  // more than a block, then single tokens
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const PlainModel::Vector expected = plain.step(tokens[i]);
    if (i + 1 < prompt) continue;
    const auto got = i + 1 == prompt ? (*engine)->prefill(sequence, std::span(tokens).first(prompt))
                                     : (*engine)->decode(sequence, tokens[i]);
    ASSERT_TRUE(got) << got.error().message;
    for (std::size_t id = 0; id < expected.size(); ++id) ASSERT_NEAR((*got)[id], expected[id], 2e-4) << i << " " << id;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Models, ForwardOf,
    ::testing::Values(Case{"llama", "llama"}, Case{"tied", "llama", true}, Case{"yarn", "llama", false, true},
                      Case{"qwen2", "qwen2"}, Case{"qwen3", "qwen3", false, false, 16}, Case{"gemma", "gemma", true},
                      Case{"gemma2", "gemma2", true}, Case{"gemma3", "gemma3", true}, Case{"phi3", "phi3"},
                      Case{"granite", "granite"}, Case{"smollm3", "smollm3", true}, Case{"mistral3", "mistral3"},
                      Case{"mixtral", "llama", false, false, 8, 8}, Case{"qwen2moe", "qwen2moe", false, false, 8, 6},
                      Case{"qwen3moe", "qwen3moe", false, false, 16, 12}, Case{"olmoe", "olmoe", false, false, 8, 8},
                      Case{"gptoss", "gpt-oss", false, false, 16, 8}, Case{"deepseek2dense", "deepseek2"},
                      Case{"deepseek2lite", "deepseek2", false, false, 8, 8},
                      Case{"deepseek2v3", "deepseek2", false, false, 8, 8, true}),
    [](const auto& model) { return model.param.name; });

// Weights and a cache of a configuration that is not exactly what the file says.
struct OwnConfig {
  OwnConfig(const std::vector<std::byte>& bytes, const ModelConfig& config, SignalListener* listener = nullptr) {
    weights = *ModelWeights::load(*GgufFile::parse(bytes), config, pool, {});
    KvCacheOptions options{
        .plan = {}, .layers = model_layers(config), .root = {}, .budget_bytes = std::size_t{16} << 20};
    options.plan.layers.assign(config.layers, {*find_codec("raw_f32"), *find_codec("raw_f32")});
    cache = *KvCache::create(options);
    forward = std::make_unique<Forward>(*weights, options.layers, pool, nullptr, listener);
  }

  // The logits of the last `wanted` of these tokens.
  std::vector<float> compute(Sequence& sequence, std::span<const TokenId> tokens, std::uint32_t wanted) {
    std::vector<float> logits(std::size_t{wanted} * weights->config().vocab);
    const ForwardRows rows[] = {{&sequence, tokens, wanted, logits.data()}};
    const Status computed = forward->run(rows);
    EXPECT_TRUE(computed) << computed.error().message;
    return logits;
  }

  ThreadPool pool{2};
  std::unique_ptr<ModelWeights> weights;
  std::unique_ptr<KvCache> cache;
  std::unique_ptr<Forward> forward;
};

// Four layers, no two alike: feed-forwards of other widths, another rotation, a window, and from `shared_from` on the
// keys and values of earlier layers.
ModelConfig unlike_layers_config(const GgufFile& file) {
  ModelConfig config = *ModelConfig::from_gguf(file);
  config.each_layer[1].cache.rope.base = 500.0;
  config.each_layer[1].cache.window = 5;
  config.each_layer[2].cache.kv_map = 0;
  config.each_layer[3].cache.kv_map = 1;
  config.each_layer[3].cache.rope = config.each_layer[1].cache.rope;
  config.each_layer[3].cache.window = 70;
  return config;
}

class ListenerToAll : public SignalListener {
 public:
  SignalRequest wants(std::uint32_t layer) const override { return {.queries = layer == 2}; }
  void attended(const AttendedRows& rows) override { queries += rows.positions.size(); }
  std::size_t queries = 0;
};

TEST(ForwardPass, EachLayerIsComputedAsItsSpecSays) {
  const auto bytes = TinyModel{.layers = 4, .layer_ffn = {64, 32, 96, 128}}.builder().build();
  const auto file = GgufFile::parse(bytes);
  ASSERT_TRUE(file);
  const ModelConfig config = unlike_layers_config(*file);
  EXPECT_EQ(config.ffn, 128u);
  PlainModel plain(*file, config);
  ListenerToAll listener;
  OwnConfig quiet(bytes, config), heard(bytes, config, &listener);
  Sequence sequence = quiet.cache->open({}), twin = heard.cache->open({});

  std::vector<TokenId> tokens(90);
  std::vector<PlainModel::Vector> expected;
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<TokenId>((i * i * 7 + i) % config.vocab);
  for (const TokenId token : tokens) expected.push_back(plain.step(token));
  const auto expect_near = [&](const std::vector<float>& got, std::size_t first) {
    for (std::size_t i = 0; i < got.size(); ++i) {
      ASSERT_NEAR(got[i], expected[first + i / config.vocab][i % config.vocab], 2e-4) << first << " " << i;
    }
  };
  const std::size_t prompt = 80, wanted = 3;
  const auto got = quiet.compute(sequence, std::span(tokens).first(prompt), wanted);
  expect_near(got, prompt - wanted);
  EXPECT_EQ(heard.compute(twin, std::span(tokens).first(prompt), wanted), got);
  EXPECT_EQ(listener.queries, prompt);  // although only three of them go on
  for (std::size_t i = prompt; i < tokens.size(); ++i) expect_near(quiet.compute(sequence, {&tokens[i], 1}, 1), i);
  EXPECT_EQ(sequence.pages(2).data(), sequence.pages(0).data());
}

// A prompt without logits, whose last layers have no keys of their own, is computed as far as anybody needs it.
TEST(ForwardPass, LayersBehindTheLastKeysComputeNothingWithoutLogits) {
  const auto bytes = TinyModel{.layers = 4, .layer_ffn = {64, 32, 96, 128}}.builder().build();
  const auto file = GgufFile::parse(bytes);
  ASSERT_TRUE(file);
  OwnConfig model(bytes, unlike_layers_config(*file));
  const std::vector<TokenId> tokens = {3, 4, 5, 6};
  Sequence in_two = model.cache->open({}), at_once = model.cache->open({});
  model.compute(in_two, std::span(tokens).first(3), 0);
  EXPECT_EQ(model.compute(in_two, std::span(tokens).subspan(3), 1), model.compute(at_once, tokens, 1));
}

}  // namespace
}  // namespace cairn
