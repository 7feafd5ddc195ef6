// SPDX-License-Identifier: Apache-2.0
// What the quantising codecs share: one head of an open block as floats, and reading packed codes one by one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "cairn/block/shape.h"
#include "cairn/codec/codec.h"
#include "cairn/kernels/codes.h"

namespace cairn {

// Floats of one head, both ways round; on the stack of an encoder.
class HeadBlock {
 public:
  // Widens one head of an open page (raw_f16).
  HeadBlock(const PageFormat& format, const std::byte* open_page, std::uint32_t kv_head);

  const float* by_channel() const { return by_channel_; }  // [head_dim, kBlockTokens]
  const float* by_token() const { return by_token_; }      // [kBlockTokens, head_dim]

 private:
  alignas(64) float by_channel_[kMaxChannels * kBlockTokens];
  alignas(64) float by_token_[kMaxChannels * kBlockTokens];
};

// The byte or code in place; the definition of the packed form, for decoding and tests.
std::uint8_t code_at(const CodeMatrix& matrix, std::uint32_t lane, std::uint32_t depth);

// Parts of a page, which are aligned as PageLayout lays them.
inline std::uint16_t* halves(std::byte* at) {
  return reinterpret_cast<std::uint16_t*>(at);
}
inline const std::uint16_t* halves(const std::byte* at) {
  return reinterpret_cast<const std::uint16_t*>(at);
}
inline std::uint8_t* bytes(std::byte* at) {
  return reinterpret_cast<std::uint8_t*>(at);
}
inline const std::uint8_t* bytes(const std::byte* at) {
  return reinterpret_cast<const std::uint8_t*>(at);
}

// Consecutive parts of one head's share of a page, each aligned to 16 bytes.
class PageLayout {
 public:
  std::size_t take(std::size_t bytes) {
    const std::size_t at = size_;
    size_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    return at;
  }
  std::size_t size() const { return size_; }

 private:
  static constexpr std::size_t kAlignment = 16;
  std::size_t size_ = 0;
};

// Pages are multiples of 64 bytes.
constexpr std::size_t page_of_heads(std::size_t head_bytes, std::uint32_t kv_heads) {
  return (head_bytes * kv_heads + 63) / 64 * 64;
}

// The row of a codec whose pages are its heads one after the other, each as Scheme::Layout(format) says.
template <class Scheme>
constexpr Codec head_codec(std::uint32_t id, std::string_view name) {
  return {.id = id,
          .name = name,
          .page_bytes =
              [](const PageFormat& format) {
                return page_of_heads(typename Scheme::Layout(format).bytes, format.shape.kv_heads);
              },
          .encode = Scheme::encode,
          .decode = Scheme::decode,
          .scores = Scheme::scores,
          .accumulate = Scheme::accumulate,
          .head_part =
              [](const PageFormat& format, const std::byte* page, std::uint32_t kv_head) {
                const std::size_t head_bytes = typename Scheme::Layout(format).bytes;
                return PrefetchHint{page + kv_head * head_bytes, head_bytes};
              }};
}

// Segments or groups of `group` channels in a head.
constexpr std::uint32_t groups_of(std::uint32_t channels, std::uint32_t group) {
  return (channels + group - 1) / group;
}

}  // namespace cairn
