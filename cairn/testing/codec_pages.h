// SPDX-License-Identifier: Apache-2.0
// Test support: pages of any codec from rows of floats.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cairn/codec/codec.h"
#include "cairn/testing/normal_codebook.h"

namespace cairn::testing {

// 64-byte aligned, as pages are.
class PageMemory {
 public:
  explicit PageMemory(std::size_t bytes) : lines_(bytes / sizeof(Line)) {}
  std::byte* data() { return reinterpret_cast<std::byte*>(lines_.data()); }
  const std::byte* data() const { return reinterpret_cast<const std::byte*>(lines_.data()); }
  std::size_t size() const { return lines_.size() * sizeof(Line); }
  bool operator==(const PageMemory&) const = default;

 private:
  struct alignas(64) Line {
    std::byte bytes[64] = {};
    bool operator==(const Line&) const = default;
  };
  std::vector<Line> lines_;
};

// With a codebook for normal values, where the codec needs one.
inline PageFormat test_format(const Codec& codec, PageShape shape, Side side) {
  return {.codec = &codec,
          .shape = shape,
          .side = side,
          .codebook = codec.needs_codebook ? normal_codebook(codec, shape) : nullptr};
}

// A page of the first `tokens` of `rows` [tokens, kv_heads, head_dim], which lie in the basis of the codec. Codecs that
// encode get a full block, the missing tokens being zeros, and mass that falls from the first token to the last.
inline PageMemory make_page(const PageFormat& format, std::span<const float> rows, std::uint32_t tokens) {
  const PageFormat open = open_format(format);
  const std::size_t width = format.shape.values_per_token();
  PageMemory page(open.codec->page_bytes(open));
  for (std::uint32_t t = 0; t < tokens; ++t) open.codec->store_token(open, page.data(), t, rows.data() + t * width);
  if (format.codec->encode == nullptr) return page;
  std::vector<float> mass(std::size_t{format.shape.kv_heads} * kBlockTokens);
  for (std::size_t i = 0; i < mass.size(); ++i) mass[i] = 1.0f / static_cast<float>(1 + i % kBlockTokens);
  PageMemory encoded(format.codec->page_bytes(format));
  format.codec->encode(format, {page.data(), mass.data()}, encoded.data());
  return encoded;
}

}  // namespace cairn::testing
