// SPDX-License-Identifier: Apache-2.0
// Mutated model files: whatever their bytes say, opening one gives a model or one line of error.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/engine/model_config.h"
#include "cairn/gguf/gguf.h"
#include "cairn/testing/gguf_builder.h"
#include "cairn/testing/tiny_model.h"

namespace cairn {
namespace {

// Changes a few bytes, favouring the places and values that hurt parsers.
void mutate(std::vector<std::byte>& bytes, std::mt19937_64& random) {
  const std::size_t edits = 1 + random() % 4;
  for (std::size_t edit = 0; edit < edits && bytes.size() > 8; ++edit) {
    const std::size_t at = random() % bytes.size();
    switch (random() % 6) {
      case 0: bytes[at] ^= static_cast<std::byte>(1u << (random() % 8)); break;
      case 1: bytes[at] = static_cast<std::byte>(random()); break;
      case 2: {
        constexpr std::uint64_t kValues[] = {0,         1, UINT64_MAX, std::uint64_t{1} << 63, std::uint64_t{1} << 32,
                                             0x7fffffff};
        const std::uint64_t value = kValues[random() % std::size(kValues)];
        std::memcpy(bytes.data() + random() % (bytes.size() - 7), &value, sizeof value);
        break;
      }
      case 3: bytes.resize(at); break;
      case 4: bytes.erase(bytes.begin() + static_cast<std::ptrdiff_t>(at)); break;
      case 5: bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at), static_cast<std::byte>(random())); break;
    }
  }
}

bool load(const std::vector<std::byte>& bytes) {
  const auto file = GgufFile::parse(bytes);
  return file && ModelConfig::from_gguf(*file);
}

// Everything that inspect and the loader do to a file.
void use(const std::vector<std::byte>& bytes, int& parsed, int& loaded) {
  const auto file = GgufFile::parse(bytes);
  if (!file) {
    ASSERT_FALSE(file.error().message.empty());
    ASSERT_EQ(file.error().message.find('\n'), std::string::npos);
    return;
  }
  ++parsed;
  for (const GgufValue& value : file->metadata()) ASSERT_FALSE(value.preview().empty());
  for (const GgufTensor& tensor : file->tensors()) {
    if (tensor.data.size() < 4096 && tensor.format()) static_cast<void>(tensor.to_f32());
  }
  const auto config = ModelConfig::from_gguf(*file);
  if (!config) {
    ASSERT_FALSE(config.error().message.empty());
    ASSERT_EQ(config.error().message.find('\n'), std::string::npos) << config.error().message;
    return;
  }
  ++loaded;
  ASSERT_EQ(config->rope.inverse_frequencies().size(), config->rope.dims / 2);
}

TEST(ModelFile, MutatedFilesNeverCrash) {
  std::vector<std::vector<std::byte>> seeds;
  for (const auto& [arch, experts] : {std::pair("llama", 0u),
                                      {"qwen2", 0u},
                                      {"qwen3", 0u},
                                      {"gemma3", 0u},
                                      {"granite", 0u},
                                      {"smollm3", 0u},
                                      {"qwen3moe", 4u},
                                      {"qwen2moe", 4u},
                                      {"gpt-oss", 4u},
                                      {"deepseek2", 4u}}) {
    const TinyModel model{
        .arch = arch, .layers = 1, .width = 16, .ffn = 16, .heads = 2, .kv_heads = 1, .vocab = 8, .experts = experts};
    GgufBuilder builder = model.builder();
    if (const std::string_view name = arch; experts == 0 && (name == "llama" || name.starts_with("qwen"))) {
      builder.set(std::string(arch) + ".rope.scaling.type", "yarn");
      builder.set(std::string(arch) + ".rope.scaling.factor", 4.0f);
    }
    // All tensors share the bytes of one, so that most of the file is description.
    std::size_t largest = 0;
    for (GgufBuilder::Tensor& tensor : builder.tensors()) {
      largest = std::max(largest, tensor.data.size());
      tensor.offset = 0;
      tensor.data.clear();
    }
    builder.tensors()[0].data.resize(largest);
    seeds.push_back(builder.build());
    EXPECT_TRUE(load(seeds.back())) << arch;
  }
  seeds.push_back(small_gguf().build());
  std::mt19937_64 random(20240601);
  int parsed = 0;
  int loaded = 0;
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::byte> bytes = seeds[random() % seeds.size()];
    mutate(bytes, random);
    bytes.shrink_to_fit();
    use(bytes, parsed, loaded);
    if (HasFatalFailure()) FAIL() << "round " << round;
  }
  // The mutations must reach past the first check, or this test says nothing.
  EXPECT_GT(parsed, 2000);
  EXPECT_GT(loaded, 500);
}

}  // namespace
}  // namespace cairn
