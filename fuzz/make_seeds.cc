// SPDX-License-Identifier: Apache-2.0
// Writes the seeds of fuzz_gguf and fuzz_gguf_split that are models: every tensor type, the metadata of architectures
// that have much of it, and a model in parts; and those of fuzz_budget_profile. Usage: make_seeds CORPUS
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cairn/base/check.h"
#include "cairn/base/file.h"
#include "cairn/engine/model_config.h"
#include "cairn/policy/budget_profile.h"
#include "cairn/testing/gguf_builder.h"
#include "cairn/testing/panels.h"
#include "cairn/testing/tiny_model.h"

namespace cairn {
namespace {

// All tensors of a model share the bytes of one, so that most of the file is description.
std::vector<std::byte> small_model(const std::string& arch, bool like_v3) {
  const TinyModel model{.arch = arch,
                        .layers = 2,
                        .width = 16,
                        .ffn = 16,
                        .heads = 2,
                        .kv_heads = 1,
                        .vocab = 8,
                        .experts = 8,
                        .expert_ffn = 16,
                        .like_v3 = like_v3};
  GgufBuilder builder = model.builder();
  std::size_t largest = 0;
  for (GgufBuilder::Tensor& tensor : builder.tensors()) {
    largest = std::max(largest, tensor.data.size());
    tensor.offset = 0;
    tensor.data.clear();
  }
  builder.tensors()[0].data.resize(largest);
  std::vector<std::byte> bytes = builder.build();
  CAIRN_CHECK(ModelConfig::from_gguf(*GgufFile::parse(bytes)).has_value());  // a seed that is refused leads nowhere
  return bytes;
}

// A tensor of two rows of two blocks for each type.
GgufBuilder all_types() {
  GgufBuilder builder;
  builder.set("general.architecture", "llama");
  for (const WeightFormatInfo& info : weight_formats()) {
    const std::uint32_t cols = 2 * info.block_values;
    builder.tensor({.name = info.name,
                    .dims = {cols, 2},
                    .type = static_cast<std::uint32_t>(info.format),
                    .data = testing::random_matrix(info.format, 2, cols, 1)});
  }
  return builder;
}

// As fuzz_gguf_split reads them. The second part says nothing of the model.
std::vector<std::byte> in_parts(std::uint16_t count) {
  const float values[] = {1, 2, 3, 4};
  ByteWriter out;
  for (std::uint16_t number = 0; number < count; ++number) {
    GgufBuilder part;
    if (number != 1) part.set("general.architecture", "llama").set("general.name", "a model");
    part.set("split.no", number).set("split.count", count);
    part.set("split.tensors.count", static_cast<std::int32_t>(count));
    part.tensor_f32("t" + std::to_string(number), {2, 2}, values);
    const std::vector<std::byte> bytes = part.build();
    out.number(static_cast<std::uint32_t>(bytes.size())).bytes(bytes);
  }
  return out.take();
}

std::vector<std::byte> profile(const BudgetProfile& profile) {
  const std::string text = render_budget_profile(profile).value();
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

// All keys, and shares of all the sizes that a number is written in.
BudgetProfile full_profile() {
  BudgetProfile full{.model = Digest{}, .keep = 0.25, .shares = {1, 0.5, 1.0 / 3, 1e-9, 0.125, 2.0 / 3, 0.1, 0.25, 1}};
  full.policy = "prefixkv";
  full.calibration = "8 windows of 2048 tokens from \"a\\b.txt\"";
  full.command = "cairn tune budgets";
  full.date = "2026-11-30";
  return full;
}

int write_seeds(const std::filesystem::path& corpus) {
  const std::pair<const char*, std::vector<std::byte>> seeds[] = {
      {"fuzz_gguf/all_types.gguf", all_types().build()},
      {"fuzz_gguf/gpt-oss.gguf", small_model("gpt-oss", false)},
      {"fuzz_gguf/deepseek2.gguf", small_model("deepseek2", false)},
      {"fuzz_gguf/deepseek2-v3.gguf", small_model("deepseek2", true)},
      {"fuzz_gguf_split/two", in_parts(2)},
      {"fuzz_gguf_split/three", in_parts(3)},
      {"fuzz_budget_profile/full.toml", profile(full_profile())},
      {"fuzz_budget_profile/least.toml", profile({.keep = 1, .shares = {1}})},
  };
  for (const auto& [name, bytes] : seeds) {
    std::filesystem::create_directories((corpus / name).parent_path());
    if (const auto written = write_file((corpus / name).string(), bytes); !written) {
      std::cerr << written.error().message << '\n';
      return 1;
    }
  }
  return 0;
}

}  // namespace
}  // namespace cairn

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: make_seeds CORPUS\n";
    return 2;
  }
  return cairn::write_seeds(argv[1]);
}
