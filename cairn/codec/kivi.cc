// SPDX-License-Identifier: Apache-2.0
// KIVI (Liu et al., ICML 2024): keys per channel in groups of tokens, values per token in groups of channels, with a
// float zero point, the least value of the group.
#include <algorithm>
#include <utility>

#include "cairn/base/half.h"
#include "cairn/codec/head_quantizer.h"
#include "cairn/kernels/kernels.h"

namespace cairn {
namespace codecs {
namespace {

// Scales and zero points are f16, and codes are chosen for what these round to.
struct Affine {
  float scale[kMaxChannels];
  float inverse[kMaxChannels];
  float zero[kMaxChannels];

  // From the ranges of `count` groups.
  Affine(const float* low, const float* high, std::uint32_t count, std::uint32_t max_code, std::uint16_t* scales,
         std::uint16_t* zeros) {
    for (std::uint32_t i = 0; i < count; ++i) {
      scales[i] = f32_to_f16((high[i] - low[i]) / static_cast<float>(max_code));
      zeros[i] = f32_to_f16(low[i]);
      scale[i] = f16_to_f32(scales[i]);
      zero[i] = f16_to_f32(zeros[i]);
      inverse[i] = scale[i] > 0.0f ? 1.0f / scale[i] : 0.0f;  // a constant group is its zero point
    }
  }
};

template <std::uint32_t kBits, std::uint32_t kGroup>
struct Kivi {
  static constexpr std::uint32_t kOrderedBits = kBits;  // see head_codec()
  static constexpr std::uint32_t kMaxCode = (1u << kBits) - 1;
  static constexpr std::uint32_t kTokenGroups = kBlockTokens / kGroup;  // of keys

  // Of one head. Keys: scales and zeros [token groups, head_dim], codes of each token group. Values: scales and zeros
  // [channel groups, kBlockTokens], codes.
  struct Layout {
    std::size_t scales, zeros, codes, code_group_bytes, bytes;

    explicit Layout(const PageFormat& format) {
      const std::uint32_t dim = format.shape.head_dim;
      const bool keys = format.slot == PageSlot::kKeys;
      const std::size_t groups = keys ? kTokenGroups * dim : groups_of(dim, kGroup) * kBlockTokens;
      code_group_bytes = keys ? code_bytes(kGroup, dim, kBits) : code_bytes(dim, kBlockTokens, kBits);
      PageLayout layout;
      codes = layout.take(code_group_bytes * (keys ? kTokenGroups : 1));
      scales = layout.take(groups * sizeof(std::uint16_t));
      zeros = layout.take(groups * sizeof(std::uint16_t));
      bytes = layout.size();
    }
  };

  static void encode(const PageFormat& format, const OpenBlock& block, std::byte* page) {
    const Layout layout(format);
    for (std::uint32_t h = 0; h < format.shape.kv_heads; ++h, page += layout.bytes) {
      const HeadBlock head(format, block.page, h);
      if (format.slot == PageSlot::kKeys) {
        encode_keys(format.shape.head_dim, head, layout, page);
      } else {
        encode_values(format.shape.head_dim, head, layout, page);
      }
    }
  }

  static void encode_keys(std::uint32_t dim, const HeadBlock& head, const Layout& layout, std::byte* page) {
    float low[kMaxChannels], high[kMaxChannels];
    std::uint8_t codes[kGroup * kMaxChannels];
    for (std::uint32_t g = 0; g < kTokenGroups; ++g) {
      const float* rows = head.by_token() + std::size_t{g} * kGroup * dim;
      kernels().column_range(rows, kGroup, dim, low, high);
      const Affine affine(low, high, dim, kMaxCode, halves(page + layout.scales) + g * dim,
                          halves(page + layout.zeros) + g * dim);
      kernels().quantise_columns(rows, kGroup, dim, affine.zero, affine.inverse, kMaxCode, codes);
      kernels().pack_codes(codes, 1, dim, kGroup, dim, kBits, bytes(page + layout.codes) + g * layout.code_group_bytes);
    }
  }

  static void encode_values(std::uint32_t dim, const HeadBlock& head, const Layout& layout, std::byte* page) {
    float low[kBlockTokens], high[kBlockTokens];
    std::uint8_t codes[kMaxChannels * kBlockTokens];
    for (std::uint32_t g = 0; g < groups_of(dim, kGroup); ++g) {
      const std::uint32_t rows = std::min(kGroup, dim - g * kGroup);
      const float* channels = head.by_channel() + std::size_t{g} * kGroup * kBlockTokens;
      kernels().column_range(channels, rows, kBlockTokens, low, high);
      const Affine affine(low, high, kBlockTokens, kMaxCode, halves(page + layout.scales) + g * kBlockTokens,
                          halves(page + layout.zeros) + g * kBlockTokens);
      kernels().quantise_columns(channels, rows, kBlockTokens, affine.zero, affine.inverse, kMaxCode,
                                 codes + std::size_t{g} * kGroup * kBlockTokens);
    }
    kernels().pack_codes(codes, 1, kBlockTokens, dim, kBlockTokens, kBits, bytes(page + layout.codes));
  }

  static void decode(const PageFormat& format, const std::byte* page, std::uint32_t count, float* out) {
    const Layout layout(format);
    const std::uint32_t dim = format.shape.head_dim;
    const bool keys = format.slot == PageSlot::kKeys;
    for (std::uint32_t h = 0; h < format.shape.kv_heads; ++h, page += layout.bytes) {
      for (std::uint32_t t = 0; t < count; ++t) {
        float* row = out + (std::size_t{t} * format.shape.kv_heads + h) * dim;
        for (std::uint32_t d = 0; d < dim; ++d) {
          const std::size_t group = keys ? t / kGroup * dim + d : std::size_t{d / kGroup} * kBlockTokens + t;
          const std::uint8_t code = keys ? code_at(key_codes(dim, layout, page, t / kGroup), t % kGroup, d)
                                         : code_at(value_codes(dim, layout, page), d, t);
          row[d] = static_cast<float>(code) * f16_to_f32(halves(page + layout.scales)[group]) +
                   f16_to_f32(halves(page + layout.zeros)[group]);
        }
      }
    }
  }

  static void scores(const PageFormat& format, const std::byte* page, std::uint32_t kv_head, const float* q,
                     std::uint32_t rows, std::uint8_t boxes, PrefetchHint next, float* out) {
    const Layout layout(format);
    const std::uint32_t dim = format.shape.head_dim;
    page += kv_head * layout.bytes;
    alignas(64) float scale[kMaxChannels], zero[kMaxChannels];
    constexpr std::uint32_t kGroupBoxes = kGroup / kBoxTokens;
    for (std::uint32_t g = 0; g < kTokenGroups; ++g) {
      const auto own = static_cast<std::uint8_t>(boxes >> g * kGroupBoxes & ((1u << kGroupBoxes) - 1));
      if (own == 0) continue;
      kernels().widen_f16(halves(page + layout.scales) + g * dim, dim, scale);
      kernels().widen_f16(halves(page + layout.zeros) + g * dim, dim, zero);
      // Counted from the middle, codes are half as large, and so is what rounding the query costs.
      for (std::uint32_t d = 0; d < dim; ++d) zero[d] += scale[d] * (kMaxCode / 2.0f);
      const CodeKeys keys = {.codes = key_codes(dim, layout, page, g),
                             .twice_middle = kMaxCode,
                             .channel_scale = scale,
                             .offset = zero,
                             .boxes = own};
      kernels().code_scores(keys, q, rows, std::exchange(next, PrefetchHint{}), out + g * kGroup);
    }
  }

  static void accumulate(const PageFormat& format, const std::byte* page, std::uint32_t kv_head, const float* p,
                         const float* correction, std::uint32_t rows, std::uint32_t, std::uint8_t boxes,
                         PrefetchHint next, float* acc) {
    const Layout layout(format);
    const std::uint32_t dim = format.shape.head_dim;
    page += kv_head * layout.bytes;
    constexpr std::size_t kMax = kMaxChannels / kGroup * kBlockTokens;
    alignas(64) float scale[kMax], zero[kMax];
    const std::size_t groups = std::size_t{groups_of(dim, kGroup)} * kBlockTokens;
    kernels().widen_f16(halves(page + layout.scales), groups, scale);
    kernels().widen_f16(halves(page + layout.zeros), groups, zero);
    const CodeValues values = {.codes = value_codes(dim, layout, page),
                               .twice_middle = 0,
                               .group = kGroup,
                               .token_scale = scale,
                               .token_offset = zero,
                               .boxes = boxes};
    kernels().code_accumulate(values, p, correction, rows, next, acc);
  }

  static constexpr Codec codec(std::uint32_t id, std::string_view name) {
    Codec row = head_codec<Kivi>(id, name);
    if (kBits == 2) row.bounds.stored = 0.6;
    return row;
  }

  static CodeMatrix key_codes(std::uint32_t dim, const Layout& layout, const std::byte* page, std::uint32_t group) {
    return {.codes = bytes(page + layout.codes) + group * layout.code_group_bytes,
            .bits = kBits,
            .lanes = kGroup,
            .depth = dim};
  }

  static CodeMatrix value_codes(std::uint32_t dim, const Layout& layout, const std::byte* page) {
    return {.codes = bytes(page + layout.codes), .bits = kBits, .lanes = dim, .depth = kBlockTokens};
  }
};

}  // namespace
}  // namespace codecs

std::span<const Codec> kivi_codecs() {
  static constexpr Codec kRows[] = {
      codecs::Kivi<4, 32>::codec(16, "kivi4-g32"), codecs::Kivi<4, 64>::codec(17, "kivi4-g64"),
      codecs::Kivi<2, 32>::codec(18, "kivi2-g32"), codecs::Kivi<2, 64>::codec(19, "kivi2-g64")};
  return kRows;
}

}  // namespace cairn
