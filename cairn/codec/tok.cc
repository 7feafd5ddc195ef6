// SPDX-License-Identifier: Apache-2.0
// Token-wise codes: each token has a scale per group of 32 channels, and codes stand evenly around zero. The rival of
// llama.cpp's q4_0 and q8_0 caches. Two remedies against outlier channels can be added: the mean of each channel over
// the block is taken off the keys (one dot product per block at attention), and heads go through a
// Hadamard transform. Scales are one byte, chosen by the error that they leave.
#include <algorithm>
#include <cstring>

#include "cairn/base/half.h"
#include "cairn/codec/head_quantizer.h"
#include "cairn/kernels/kernels.h"

namespace cairn {
namespace codecs {
namespace {

constexpr std::uint32_t kGroup = kQuerySegment;

// Mean of each row of x [channels, kBlockTokens].
void channel_means(const float* x, std::uint32_t channels, float* means) {
  for (std::uint32_t d = 0; d < channels; ++d) {
    float sum = 0;
    for (std::uint32_t t = 0; t < kBlockTokens; ++t) sum += x[d * kBlockTokens + t];
    means[d] = sum / kBlockTokens;
  }
}

template <std::uint32_t kBits, bool kMean, bool kHadamard>
struct Tok {
  static constexpr std::uint32_t kOrderedBits = kBits;  // see head_codec()
  static constexpr std::uint32_t kMaxCode = (1u << kBits) - 1;
  static constexpr float kMiddle = kMaxCode / 2.0f;
  // How many scales below the one that reaches the greatest value are tried. At 8 bits clipping never pays.
  static constexpr int kCandidates = kBits == 8 ? 1 : 5;

  // Of one head: codes, scales [groups, kBlockTokens], and the means [head_dim] of keys.
  struct Layout {
    std::size_t codes, scales, means, bytes;

    explicit Layout(const PageFormat& format) {
      const std::uint32_t dim = format.shape.head_dim;
      const bool keys = format.slot == PageSlot::kKeys;
      PageLayout layout;
      codes = layout.take(keys ? code_bytes(kBlockTokens, dim, kBits) : code_bytes(dim, kBlockTokens, kBits));
      scales = layout.take(std::size_t{groups_of(dim, kGroup)} * kBlockTokens);
      means = layout.take(keys && kMean ? dim * sizeof(std::uint16_t) : 0);
      bytes = layout.size();
    }
  };

  static void encode(const PageFormat& format, const OpenBlock& block, std::byte* page) {
    const Layout layout(format);
    const std::uint32_t dim = format.shape.head_dim;
    const bool keys = format.slot == PageSlot::kKeys;
    for (std::uint32_t h = 0; h < format.shape.kv_heads; ++h, page += layout.bytes) {
      const HeadBlock head(format, block.page, h);
      alignas(64) float rows[kMaxChannels * kBlockTokens];
      std::memcpy(rows, head.by_channel(), std::size_t{dim} * kBlockTokens * sizeof(float));
      if (keys && kMean) take_off_means(rows, dim, halves(page + layout.means));
      std::uint8_t codes[kMaxChannels * kBlockTokens];
      for (std::uint32_t g = 0; g < groups_of(dim, kGroup); ++g) {
        const std::size_t first = std::size_t{g} * kGroup * kBlockTokens;
        const SymmetricQuantizer group{rows + first, std::min(kGroup, dim - g * kGroup), kMaxCode};
        const std::span<std::uint8_t> scales(bytes(page + layout.scales) + g * kBlockTokens, kBlockTokens);
        choose_scales({&group, 1}, kCandidates, scales);
        group.quantise(scales, codes + first);
      }
      if (keys) {
        kernels().pack_codes(codes, kBlockTokens, 1, kBlockTokens, dim, kBits, bytes(page + layout.codes));
      } else {
        kernels().pack_codes(codes, 1, kBlockTokens, dim, kBlockTokens, kBits, bytes(page + layout.codes));
      }
    }
  }

  // The means are rounded first, so that nothing of them is lost twice.
  static void take_off_means(float* rows, std::uint32_t dim, std::uint16_t* stored) {
    float means[kMaxChannels];
    channel_means(rows, dim, means);
    for (std::uint32_t d = 0; d < dim; ++d) {
      stored[d] = f32_to_f16(means[d]);
      const float mean = f16_to_f32(stored[d]);
      for (std::uint32_t t = 0; t < kBlockTokens; ++t) rows[d * kBlockTokens + t] -= mean;
    }
  }

  static void decode(const PageFormat& format, const std::byte* page, std::uint32_t count, float* out) {
    const Layout layout(format);
    const std::uint32_t dim = format.shape.head_dim;
    const bool keys = format.slot == PageSlot::kKeys;
    for (std::uint32_t h = 0; h < format.shape.kv_heads; ++h, page += layout.bytes) {
      const CodeMatrix matrix = codes_of(format, layout, page);
      float scales[kMaxScales];
      widen_small_scales(bytes(page + layout.scales), std::size_t{groups_of(dim, kGroup)} * kBlockTokens, scales);
      const auto* means = halves(page + layout.means);
      for (std::uint32_t t = 0; t < count; ++t) {
        float* row = out + (std::size_t{t} * format.shape.kv_heads + h) * dim;
        for (std::uint32_t d = 0; d < dim; ++d) {
          const std::uint8_t code = keys ? code_at(matrix, t, d) : code_at(matrix, d, t);
          row[d] = (static_cast<float>(code) - kMiddle) * scales[d / kGroup * kBlockTokens + t];
          if (keys && kMean) row[d] += f16_to_f32(means[d]);
        }
      }
    }
  }

  static void scores(const PageFormat& format, const std::byte* page, std::uint32_t kv_head, const float* q,
                     std::uint32_t rows, std::uint8_t boxes, PrefetchHint next, float* out) {
    const Layout layout(format);
    const std::uint32_t dim = format.shape.head_dim;
    page += kv_head * layout.bytes;
    alignas(64) float scales[kMaxScales], means[kMaxChannels];
    widen_small_scales(bytes(page + layout.scales), std::size_t{groups_of(dim, kGroup)} * kBlockTokens, scales);
    if (kMean) kernels().widen_f16(halves(page + layout.means), dim, means);
    const CodeKeys keys = {.codes = codes_of(format, layout, page),
                           .twice_middle = kMaxCode,
                           .channel_scale = nullptr,
                           .offset = kMean ? means : nullptr,
                           .token_scale = scales,
                           .token_scale_stride = kBlockTokens,
                           .boxes = boxes};
    kernels().code_scores(keys, q, rows, next, out);
  }

  static void accumulate(const PageFormat& format, const std::byte* page, std::uint32_t kv_head, const float* p,
                         const float* correction, std::uint32_t rows, std::uint32_t, std::uint8_t boxes,
                         PrefetchHint next, float* acc) {
    const Layout layout(format);
    const std::uint32_t dim = format.shape.head_dim;
    page += kv_head * layout.bytes;
    alignas(64) float scales[kMaxScales];
    widen_small_scales(bytes(page + layout.scales), std::size_t{groups_of(dim, kGroup)} * kBlockTokens, scales);
    const CodeValues values = {.codes = codes_of(format, layout, page),
                               .twice_middle = kMaxCode,
                               .group = kGroup,
                               .token_scale = scales,
                               .token_offset = nullptr,
                               .channel_scale = nullptr,
                               .boxes = boxes};
    kernels().code_accumulate(values, p, correction, rows, next, acc);
  }

  static CodeMatrix codes_of(const PageFormat& format, const Layout& layout, const std::byte* page) {
    const bool keys = format.slot == PageSlot::kKeys;
    const std::uint32_t dim = format.shape.head_dim;
    return {.codes = bytes(page + layout.codes),
            .bits = kBits,
            .lanes = keys ? kBlockTokens : dim,
            .depth = keys ? dim : kBlockTokens};
  }

  static constexpr std::size_t kMaxScales = kMaxChannels / kGroup * kBlockTokens;

  static constexpr Codec codec(std::uint32_t id, std::string_view name) {
    Codec row = head_codec<Tok>(id, name);
    row.basis = kHadamard ? BasisKind::kHadamard : BasisKind::kModel;
    if (kBits == 8) row.bounds.stored = 0.02;
    return row;
  }
};

}  // namespace
}  // namespace codecs

std::span<const Codec> tok_codecs() {
  static constexpr Codec kRows[] = {
      codecs::Tok<4, false, false>::codec(32, "tok4-plain"), codecs::Tok<4, true, false>::codec(33, "tok4-mean"),
      codecs::Tok<4, false, true>::codec(34, "tok4-turned"), codecs::Tok<4, true, true>::codec(35, "tok4"),
      codecs::Tok<8, true, true>::codec(36, "tok8")};
  return kRows;
}

}  // namespace cairn
