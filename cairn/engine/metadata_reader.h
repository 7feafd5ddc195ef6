// SPDX-License-Identifier: Apache-2.0
// Numbers of one architecture in a model file's metadata, each held against the range that makes sense.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/gguf/gguf.h"

namespace cairn {

// Keys are given without the architecture's prefix. Views the file; immutable. Errors: kNotFound (no such key),
// kCorrupt (another type, or out of range), each naming the key.
class MetadataReader {
 public:
  MetadataReader(const GgufFile& file, std::string_view arch) : file_(file), prefix_(std::string(arch) + ".") {}

  bool has(std::string_view key) const { return file_.find(full(key)) != nullptr; }

  // 1 to max.
  Result<std::uint32_t> count(std::string_view key, std::uint32_t max) const;
  Result<std::uint32_t> count_or(std::string_view key, std::uint32_t max, std::uint32_t fallback) const;
  // One number for all layers, or an array with one for each; 1 to max.
  Result<std::vector<std::uint32_t>> counts(std::string_view key, std::uint32_t max, std::uint32_t layers) const;
  // 0 to max: 0 is what an absent key means.
  Result<std::uint32_t> optional_count(std::string_view key, std::uint32_t max) const;

  // Between 0 and 1, neither of them.
  Result<float> epsilon(std::string_view key) const;
  // From 1e-6 to 1e6.
  Result<float> positive_or(std::string_view key, float fallback) const;
  // The same, or 0, which switches off.
  Result<float> amount_or(std::string_view key, float fallback) const;

 private:
  Status in_range(std::string_view key, float value) const;
  std::string full(std::string_view key) const { return prefix_ + std::string(key); }

  const GgufFile& file_;
  std::string prefix_;
};

}  // namespace cairn
