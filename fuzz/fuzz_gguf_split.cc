// SPDX-License-Identifier: Apache-2.0
// Arbitrary bytes as the parts of one model, opened from each of them: joined in the same way, or refused in one line.
// The input is the parts one after another, each behind its length (u32, little-endian).
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cairn/base/check.h"
#include "cairn/gguf/gguf.h"
#include "cairn/testing/test_folder.h"

namespace cairn {
namespace {

constexpr std::size_t kMaxParts = 4;

// A length beyond the end takes what there is.
std::vector<std::span<const std::byte>> parts_of(std::span<const std::byte> input) {
  std::vector<std::span<const std::byte>> parts;
  while (input.size() >= sizeof(std::uint32_t) && parts.size() < kMaxParts) {
    std::uint32_t length;
    std::memcpy(&length, input.data(), sizeof length);
    input = input.subspan(sizeof length);
    parts.push_back(input.first(std::min<std::size_t>(length, input.size())));
    input = input.subspan(parts.back().size());
  }
  return parts;
}

// What a whole model is known by: its tensors in order, and every value.
std::string description(const GgufFile& file) {
  std::string text;
  for (const GgufTensor& tensor : file.tensors()) {
    CAIRN_CHECK(file.find_tensor(tensor.name) == &tensor);
    text += std::string(tensor.name) + tensor.shape() + std::to_string(tensor.data.size()) + "\n";
    std::uint32_t sum = 0;
    for (const std::byte byte : tensor.data) sum = sum * 31 + std::to_integer<std::uint32_t>(byte);
    text += std::to_string(sum);
    file.release(tensor);
  }
  for (const GgufValue& value : file.metadata()) {
    CAIRN_CHECK(file.find(value.key) == &value);
    text += value.preview() + "\n";
  }
  return text;
}

void run(std::span<const std::byte> input) {
  static const TestFolder folder;
  const auto parts = parts_of(input);
  std::vector<std::string> paths;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    paths.push_back(folder.path() + "/m-0000" + std::to_string(i + 1) + "-of-0000" + std::to_string(parts.size()) +
                    ".gguf");
    std::ofstream file(paths.back(), std::ios::binary);  // write_file() waits for the disk
    file.write(reinterpret_cast<const char*>(parts[i].data()), std::ssize(parts[i]));
    CAIRN_CHECK(file.good());
  }
  std::optional<std::string> first;
  for (const std::string& path : paths) {
    const auto file = GgufFile::open(path);
    if (!file) {
      CAIRN_CHECK(!file.error().message.empty());
      CAIRN_CHECK(file.error().message.find('\n') == std::string::npos);
      continue;
    }
    if (parts.size() == 1) continue;
    // Named as one of several parts, it is all of them.
    const std::string whole = description(*file);
    CAIRN_CHECK(!first || *first == whole);
    first = whole;
  }
  for (const std::string& path : paths) std::filesystem::remove(path);
}

}  // namespace
}  // namespace cairn

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  cairn::run(std::as_bytes(std::span(data, size)));
  return 0;
}
