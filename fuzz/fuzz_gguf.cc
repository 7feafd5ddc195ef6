// SPDX-License-Identifier: Apache-2.0
// Arbitrary bytes as a model file: whatever inspect and the loader read of it must stay inside the bytes.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "cairn/base/check.h"
#include "cairn/engine/model_config.h"
#include "cairn/gguf/gguf.h"
#include "cairn/gguf/gguf_split.h"
#include "cairn/text/chat_template.h"
#include "cairn/text/tokenizer.h"

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
    const auto format = tensor.format();
    if (!format || tensor.data.size() > kLargestExpanded) continue;
    CAIRN_CHECK(!tensor.to_f32()->empty());
    static_cast<void>(all_finite(*format, tensor.data));
  }
}

// The text is anything; what matters is which tokens the file claims to have.
void read_tokenizer(const GgufFile& file) {
  auto data = read_tokenizer_data(file);
  if (!data) return check_error(data.error());
  const auto tokenizer = make_tokenizer(*std::move(data));
  if (!tokenizer) return check_error(tokenizer.error());
  const auto ids = (*tokenizer)->encode("The 12 <s> r\xc3\xa9sum\xc3\xa9s\n\xff<|im_end|>", {.parse_special = true});
  for (const TokenId id : ids) CAIRN_CHECK(id >= 0 && static_cast<std::size_t>(id) < (*tokenizer)->size());
  static_cast<void>((*tokenizer)->decode(ids, {.show_control = true}));
  if (const auto chat = ChatTemplate::of_model(file); !chat) check_error(chat.error());
}

void run(std::span<const std::byte> bytes) {
  const auto file = GgufFile::parse(bytes);
  if (!file) return check_error(file.error());
  if (const auto part = gguf_part(*file); !part) check_error(part.error());
  read_metadata(*file);
  read_tensors(*file);
  read_tokenizer(*file);
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
