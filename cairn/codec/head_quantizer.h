// SPDX-License-Identifier: Apache-2.0
// What the quantising codecs share: one head of an open block as floats, the layout of its share of a page, scales of
// one byte, codes that stand evenly around zero, and the packed codes read one by one. Internal to codecs and to the
// training of their tables.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "cairn/block/shape.h"
#include "cairn/codec/codec.h"
#include "cairn/kernels/codes.h"

namespace cairn::codecs {

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
              [](const PageFormat& format, const std::byte* page, std::uint32_t kv_head,
                 [[maybe_unused]] std::uint8_t boxes) {
                const std::size_t head_bytes = typename Scheme::Layout(format).bytes;
                PrefetchHint part{page + kv_head * head_bytes, head_bytes};
                // Where codes lie in the order of the tokens, boxes can be told apart.
                if constexpr (requires { Scheme::kOrderedBits; }) {
                  const bool keys = format.slot == PageSlot::kKeys;
                  const std::uint32_t dim = format.shape.head_dim;
                  part.boxes = boxes;
                  part.box_bytes = keys ? code_bytes(kBoxTokens, dim, Scheme::kOrderedBits)
                                        : code_bytes(kCodeLanes, kBoxTokens, Scheme::kOrderedBits);
                  part.boxes_from = typename Scheme::Layout(format).codes;
                  part.boxes_to = part.boxes_from + (keys ? kBlockBoxes * part.box_bytes
                                                          : code_bytes(dim, kBlockTokens, Scheme::kOrderedBits));
                }
                return part;
              }};
}

// Segments or groups of `group` channels in a head.
constexpr std::uint32_t groups_of(std::uint32_t channels, std::uint32_t group) {
  return (channels + group - 1) / group;
}

// A positive scale in one byte: five bits of exponent and three of mantissa, the upper bits of an f16. Neighbours are
// 6 to 13 % apart, which costs little where the scale is chosen by the error that it leaves.
float small_scale(std::uint8_t code);
inline constexpr std::uint8_t kMaxSmallScale = 0xf7;  // 61440; what lies above is not finite

// The least scale that is not below `wanted`, or the greatest there is. Requires: wanted is finite.
std::uint8_t small_scale_above(float wanted);

// The scale next to `wanted`; what is not above zero gives none, and what is too large the greatest there is.
std::uint8_t small_scale_nearest(float wanted);

// Any byte becomes a finite scale.
void widen_small_scales(const std::uint8_t* codes, std::size_t count, float* out);

// acc[d] += mean[d] * the sum of p [kBlockTokens]. The means of values are added after code_accumulate, which scales an
// offset of its own by the channel.
void add_means(const float* mean, std::uint32_t dim, const float* p, float* acc);

// Values x [rows, columns] whose codes stand evenly around zero, with a small scale per column that is chosen by the
// error that it leaves.
struct SymmetricQuantizer {
  const float* x;
  std::uint32_t rows;
  std::uint32_t max_code;
  float factor = 1.0f;  // what the column's scale is multiplied by

  // codes [rows, columns]. Requires: at most kMaxChannels columns.
  void quantise(std::span<const std::uint8_t> scales, std::uint8_t* codes) const;
};

// For each column the scale that leaves the least squared error in all of `parts` together, among `candidates`
// neighbouring ones: the least that reaches the greatest value, and those below it. Deterministic.
void choose_scales(std::span<const SymmetricQuantizer> parts, int candidates, std::span<std::uint8_t> scales);

}  // namespace cairn::codecs
