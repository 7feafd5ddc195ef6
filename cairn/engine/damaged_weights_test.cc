// SPDX-License-Identifier: Apache-2.0
// Weights that stand for no finite numbers, and finite ones that overflow: refused, never computed with.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "cairn/testing/tiny_engine.h"
#include "cairn/testing/tiny_model.h"

namespace cairn {
namespace {

GgufBuilder::Tensor& tensor_of(GgufBuilder& builder, const std::string& name) {
  return *std::ranges::find(builder.tensors(), name, &GgufBuilder::Tensor::name);
}

TEST(DamagedWeights, EveryTensorIsLookedAtWhileItLoads) {
  for (const auto& [arch, type] : {std::pair{"llama", TinyModel::kF32},
                                   {"llama", TinyModel::kF16},
                                   {"llama", TinyModel::kBF16},
                                   {"llama", TinyModel::kQ8_0},
                                   {"phi3", TinyModel::kF32},
                                   {"gpt-oss", TinyModel::kQ8_0},
                                   {"deepseek2", TinyModel::kF32}}) {
    const std::uint32_t experts = std::string(arch) == "gpt-oss" ? 4 : 0;
    const TinyModel tiny{.arch = arch, .experts = experts, .type = type};
    GgufBuilder whole = tiny.builder();
    ASSERT_TRUE(load_tiny(whole.build(), {.threads = 1})) << arch;
    for (const GgufBuilder::Tensor& tensor : whole.tensors()) {
      GgufBuilder builder = whole;
      std::vector<std::byte>& data = tensor_of(builder, tensor.name).data;
      // The last number, or the scale of the last block.
      if (tensor.type == TinyModel::kQ8_0) {
        data[data.size() - 33] = std::byte{0x7c};
      } else if (tensor.type == TinyModel::kMXFP4) {
        data[data.size() - 17] = std::byte{0xff};
      } else {
        data[data.size() - 1] = std::byte{0x7f};
        data[data.size() - 2] = std::byte{0xff};
      }
      const auto engine = load_tiny(builder.build(), {.threads = 2});
      ASSERT_FALSE(engine) << arch << " " << tensor.name;
      EXPECT_EQ(error_code_name(engine.error().code), error_code_name(ErrorCode::kCorrupt)) << engine.error().message;
      EXPECT_NE(engine.error().message.find("'" + tensor.name + "'"), std::string::npos) << engine.error().message;
    }
  }
}

TEST(DamagedWeights, AtTheEndOfATensorOfManyPieces) {
  GgufBuilder builder = TinyModel{.layers = 1, .width = 512, .ffn = 1024}.builder();  // 2 MiB of feed-forward
  const float nan = NAN;
  std::vector<std::byte>& data = tensor_of(builder, "blk.0.ffn_down.weight").data;
  ASSERT_GT(data.size(), std::size_t{1} << 20);
  std::memcpy(data.data() + data.size() - 4, &nan, 4);
  const auto engine = load_tiny(builder.build(), {.threads = 2});
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().message,
            "tensor 'blk.0.ffn_down.weight' holds what is no finite number: the model file is damaged, fetch it again");
}

// Finite weights, so that only computing tells.
TEST(DamagedWeights, KeysAndValuesThatOverflowFailThePassAndNameTheLayer) {
  const std::pair<const char*, const char*> cases[] = {{"blk.1.attn_k.weight", "layer 1's keys are not finite: "},
                                                       {"blk.0.attn_v.weight", "layer 0's values are not finite: "}};
  for (const auto& [name, message] : cases) {
    GgufBuilder builder = TinyModel{}.builder();
    std::vector<std::byte>& data = tensor_of(builder, name).data;
    const float huge = 3e38f;
    for (std::size_t at = 0; at < data.size(); at += 4) std::memcpy(data.data() + at, &huge, 4);
    const auto engine = load_tiny(builder.build(), {.threads = 2, .codec = "raw_f32"});
    ASSERT_TRUE(engine) << engine.error().message;
    Sequence sequence = (*engine)->open({});
    const auto logits = (*engine)->prefill(sequence, random_prompt(1, 70));
    ASSERT_FALSE(logits) << name;
    EXPECT_EQ(error_code_name(logits.error().code), error_code_name(ErrorCode::kCorrupt));
    EXPECT_TRUE(logits.error().message.starts_with(message)) << logits.error().message;
    EXPECT_EQ(sequence.size(), 0u);
    EXPECT_EQ((*engine)->cache().stats().blocks_kept_raw, 0u);
  }
}

// Beyond the range of f16 a key is rounded, and is no reason to fail.
TEST(DamagedWeights, GreatKeysAreLegal) {
  GgufBuilder builder = TinyModel{}.builder();
  std::vector<std::byte>& data = tensor_of(builder, "blk.1.attn_k.weight").data;
  const float great = 1e6f;
  for (std::size_t at = 0; at < data.size(); at += 4) std::memcpy(data.data() + at, &great, 4);
  const auto engine = load_tiny(builder.build(), {.threads = 2, .codec = "raw_f32"});
  ASSERT_TRUE(engine) << engine.error().message;
  Sequence sequence = (*engine)->open({});
  EXPECT_TRUE((*engine)->prefill(sequence, random_prompt(1, 70)));
}

}  // namespace
}  // namespace cairn
