// SPDX-License-Identifier: Apache-2.0
// Arbitrary bytes as a model file: whatever inspect and the loader read of it must stay inside the bytes.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "cairn/base/check.h"
#include "cairn/engine/gguf.h"
#include "cairn/engine/model_config.h"

namespace cairn {
namespace {

constexpr std::size_t kLargestExpanded = 1 << 16;

void check_error(const Error& error) {
  CAIRN_CHECK(!error.message.empty());
  CAIRN_CHECK(error.message.find('\n') == std::string::npos);
}

void read_metadata(const GgufFile& file) {
  for (const GgufValue& value : file.metadata()) {
    CAIRN_CHECK(file.find(value.key) == &value);
    CAIRN_CHECK(!value.preview().empty());
    if (const auto names = file.get<std::vector<std::string_view>>(value.key); names) {
      std::size_t total = 0;
      for (const std::string_view name : *names) total += name.size();
      CAIRN_CHECK(total <= value.bytes.size());
    }
    static_cast<void>(file.get<std::vector<float>>(value.key));
    static_cast<void>(file.get<std::vector<std::int32_t>>(value.key));
    static_cast<void>(file.get<std::uint32_t>(value.key));
    static_cast<void>(file.get<double>(value.key));
    static_cast<void>(file.get<bool>(value.key));
  }
}

void read_tensors(const GgufFile& file) {
  for (const GgufTensor& tensor : file.tensors()) {
    CAIRN_CHECK(file.find_tensor(tensor.name) == &tensor);
    CAIRN_CHECK(!tensor.shape().empty());
    if (tensor.data.size() <= kLargestExpanded && tensor.format()) CAIRN_CHECK(!tensor.to_f32()->empty());
  }
}

void run(std::span<const std::byte> bytes) {
  const auto file = GgufFile::parse(bytes);
  if (!file) return check_error(file.error());
  read_metadata(*file);
  read_tensors(*file);
  const auto config = ModelConfig::from_gguf(*file);
  if (!config) return check_error(config.error());
  std::vector<float> cos(config->rope.dims / 2);
  std::vector<float> sin(config->rope.dims / 2);
  rope_cos_sin(config->rope, config->context, cos, sin);
}

}  // namespace
}  // namespace cairn

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  cairn::run(std::as_bytes(std::span(data, size)));
  return 0;
}
