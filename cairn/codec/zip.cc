// SPDX-License-Identifier: Apache-2.0
// ZipCache (He et al., NeurIPS 2024): the tokens of a block that got the most attention keep 4 bits, the others 2. The
// two classes lie in sub-blocks of their own, each as regular as a block of tok.cc, with one bit per token for the
// class. Keys have a mean and a scale per channel; values are channel-separable token-wise: divided by the root of
// their channel's greatest magnitude, then one scale per token.
//
// Differs from the published code: quotas and scales are per block of 64 tokens, so that blocks stay independent and
// can be shared; a low class of keys takes its scale from the high one; there is no zero point, codes stand evenly
// around the mean or zero; scales are one byte.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>

#include "cairn/base/half.h"
#include "cairn/codec/head_quantizer.h"
#include "cairn/kernels/kernels.h"

namespace cairn {
namespace codecs {
namespace {

using Order = std::array<std::uint8_t, kBlockTokens>;  // tokens of the high class, then of the low one

// The `high` tokens with the most mass, the earlier of equal ones first.
std::uint64_t salient(const float* mass, std::uint32_t high) {
  Order tokens;
  std::iota(tokens.begin(), tokens.end(), std::uint8_t{0});
  std::ranges::stable_sort(tokens, [mass](std::uint8_t a, std::uint8_t b) { return mass[a] > mass[b]; });
  std::uint64_t bits = 0;
  for (std::uint32_t i = 0; i < high; ++i) bits |= std::uint64_t{1} << tokens[i];
  return bits;
}

// A permutation whatever the bits are: those beyond the quota of a class go to the other.
Order order_of(std::uint64_t bits, std::uint32_t high) {
  Order order;
  std::uint32_t at_high = 0, at_low = high;
  for (std::uint32_t t = 0; t < kBlockTokens; ++t) {
    const bool wants_high = (bits >> t & 1) != 0;
    const bool is_high = wants_high ? at_high < high : at_low == kBlockTokens;
    order[is_high ? at_high++ : at_low++] = static_cast<std::uint8_t>(t);
  }
  return order;
}

constexpr std::uint32_t kHighBits = 4, kLowBits = 2;
constexpr std::uint32_t kHighMax = 15, kLowMax = 3;  // the greatest codes
// What the best scale of 2 bits is to that of 4 for normal values.
constexpr float kLowOverHigh = 3.0f;
// How many scales below the greatest that makes sense are tried; twelve are a factor of three.
constexpr int kCandidates = 12;

template <std::uint32_t kKeyHigh, std::uint32_t kValueHigh>
struct Zip {
  static std::uint32_t high_of(PageSlot slot) { return slot == PageSlot::kKeys ? kKeyHigh : kValueHigh; }

  // Of one head: the class bits, codes of both classes, and for keys scales and means of channels, for values scales of
  // channels and of tokens, the high class first.
  struct Layout {
    std::size_t codes_high, codes_low, channel_scales, token_scales, means, bits, bytes;

    explicit Layout(const PageFormat& format) {
      const std::uint32_t dim = format.shape.head_dim;
      const std::uint32_t high = high_of(format.slot), low = kBlockTokens - high;
      const bool keys = format.slot == PageSlot::kKeys;
      PageLayout layout;
      codes_high = layout.take(keys ? code_bytes(high, dim, kHighBits) : code_bytes(dim, high, kHighBits));
      codes_low = layout.take(keys ? code_bytes(low, dim, kLowBits) : code_bytes(dim, low, kLowBits));
      channel_scales = layout.take(dim);
      token_scales = layout.take(keys ? 0 : kBlockTokens);
      means = layout.take(keys ? dim * sizeof(std::uint16_t) : 0);
      bits = layout.take(sizeof(std::uint64_t));
      bytes = layout.size();
    }
  };

  static void encode(const PageFormat& format, const OpenBlock& block, std::byte* page) {
    const Layout layout(format);
    for (std::uint32_t h = 0; h < format.shape.kv_heads; ++h, page += layout.bytes) {
      const HeadBlock head(format, block.page, h);
      const std::uint64_t bits = salient(block.mass + h * kBlockTokens, high_of(format.slot));
      std::memcpy(page + layout.bits, &bits, sizeof bits);
      const Order order = order_of(bits, high_of(format.slot));
      if (format.slot == PageSlot::kKeys) {
        encode_keys(format.shape.head_dim, head, order, layout, page);
      } else {
        encode_values(format.shape.head_dim, head, order, layout, page);
      }
    }
  }

  static void encode_keys(std::uint32_t dim, const HeadBlock& head, const Order& order, const Layout& layout,
                          std::byte* page) {
    alignas(64) float rows[kMaxChannels * kBlockTokens];  // [tokens in order, channels], without the mean
    float mean[kMaxChannels] = {};
    for (std::uint32_t t = 0; t < kBlockTokens; ++t) {
      for (std::uint32_t d = 0; d < dim; ++d) mean[d] += head.by_token()[t * dim + d];
    }
    auto* means = halves(page + layout.means);
    for (std::uint32_t d = 0; d < dim; ++d) {
      means[d] = f32_to_f16(mean[d] / kBlockTokens);
      mean[d] = f16_to_f32(means[d]);
    }
    for (std::uint32_t i = 0; i < kBlockTokens; ++i) {
      for (std::uint32_t d = 0; d < dim; ++d) rows[i * dim + d] = head.by_token()[order[i] * dim + d] - mean[d];
    }
    const SymmetricQuantizer classes[] = {
        {rows, kKeyHigh, kHighMax},
        {rows + std::size_t{kKeyHigh} * dim, kBlockTokens - kKeyHigh, kLowMax, kLowOverHigh}};
    const std::span<std::uint8_t> scales(bytes(page + layout.channel_scales), dim);
    choose_scales(classes, kCandidates, scales);
    std::uint8_t codes[kMaxChannels * kBlockTokens];
    classes[0].quantise(scales, codes);
    kernels().pack_codes(codes, 1, dim, kKeyHigh, dim, kHighBits, bytes(page + layout.codes_high));
    classes[1].quantise(scales, codes);
    kernels().pack_codes(codes, 1, dim, kBlockTokens - kKeyHigh, dim, kLowBits, bytes(page + layout.codes_low));
  }

  static void encode_values(std::uint32_t dim, const HeadBlock& head, const Order& order, const Layout& layout,
                            std::byte* page) {
    std::uint8_t* channel_scales = bytes(page + layout.channel_scales);
    alignas(64) float part[kMaxChannels * kBlockTokens];  // [channels, tokens of the class]
    std::uint8_t codes[kMaxChannels * kBlockTokens];
    float inverse[kMaxChannels];
    for (std::uint32_t d = 0; d < dim; ++d) {
      float reach = 0;
      for (std::uint32_t t = 0; t < kBlockTokens; ++t) {
        reach = std::max(reach, std::fabs(head.by_channel()[d * kBlockTokens + t]));
      }
      channel_scales[d] = small_scale_above(std::sqrt(reach));
      const float scale = small_scale(channel_scales[d]);
      inverse[d] = scale > 0.0f ? 1.0f / scale : 0.0f;
    }
    for (const bool high : {true, false}) {
      const std::uint32_t first = high ? 0 : kValueHigh, count = high ? kValueHigh : kBlockTokens - kValueHigh;
      for (std::uint32_t d = 0; d < dim; ++d) {
        for (std::uint32_t i = 0; i < count; ++i) {
          part[d * count + i] = head.by_channel()[d * kBlockTokens + order[first + i]] * inverse[d];
        }
      }
      const SymmetricQuantizer values{part, dim, high ? kHighMax : kLowMax};
      const std::span<std::uint8_t> scales(bytes(page + layout.token_scales) + first, count);
      choose_scales({&values, 1}, kCandidates, scales);
      values.quantise(scales, codes);
      kernels().pack_codes(codes, 1, count, dim, count, high ? kHighBits : kLowBits,
                           bytes(page + (high ? layout.codes_high : layout.codes_low)));
    }
  }

  static void decode(const PageFormat& format, const std::byte* page, std::uint32_t count, float* out) {
    const Layout layout(format);
    const std::uint32_t dim = format.shape.head_dim, high = high_of(format.slot);
    const bool keys = format.slot == PageSlot::kKeys;
    for (std::uint32_t h = 0; h < format.shape.kv_heads; ++h, page += layout.bytes) {
      const Order order = order_of(class_bits(layout, page), high);
      const CodeMatrix matrices[] = {codes_of(format, layout, page, true), codes_of(format, layout, page, false)};
      float channel_scales[kMaxChannels], token_scales[kBlockTokens];
      widen_small_scales(bytes(page + layout.channel_scales), dim, channel_scales);
      if (!keys) widen_small_scales(bytes(page + layout.token_scales), kBlockTokens, token_scales);
      const auto* means = halves(page + layout.means);
      for (std::uint32_t i = 0; i < kBlockTokens; ++i) {
        if (order[i] >= count) continue;
        const bool low = i >= high;
        const std::uint32_t slot = low ? i - high : i;
        float* row = out + (std::size_t{order[i]} * format.shape.kv_heads + h) * dim;
        for (std::uint32_t d = 0; d < dim; ++d) {
          const std::uint8_t code = keys ? code_at(matrices[low], slot, d) : code_at(matrices[low], d, slot);
          const float step = static_cast<float>(code) - (low ? kLowMax : kHighMax) / 2.0f;
          const float scale = channel_scales[d] * (keys ? (low ? kLowOverHigh : 1.0f) : token_scales[i]);
          row[d] = step * scale + (keys ? f16_to_f32(means[d]) : 0.0f);
        }
      }
    }
  }

  static void scores(const PageFormat& format, const std::byte* page, std::uint32_t kv_head, const float* q,
                     std::uint32_t rows, std::uint8_t, PrefetchHint next, float* out) {
    const Layout layout(format);
    const std::uint32_t dim = format.shape.head_dim;
    page += kv_head * layout.bytes;
    alignas(64) float scale[kMaxChannels], low_scale[kMaxChannels], mean[kMaxChannels];
    widen_small_scales(bytes(page + layout.channel_scales), dim, scale);
    for (std::uint32_t d = 0; d < dim; ++d) low_scale[d] = kLowOverHigh * scale[d];
    kernels().widen_f16(halves(page + layout.means), dim, mean);
    const CodeKeys high = {.codes = codes_of(format, layout, page, true),
                           .twice_middle = kHighMax,
                           .channel_scale = scale,
                           .offset = mean};
    const CodeKeys low = {.codes = codes_of(format, layout, page, false),
                          .twice_middle = kLowMax,
                          .channel_scale = low_scale,
                          .offset = mean};
    const Order order = order_of(class_bits(layout, page), kKeyHigh);
    for (std::uint32_t r = 0; r < rows; r += kRowsAtOnce) {
      const std::uint32_t n = std::min(kRowsAtOnce, rows - r);
      alignas(64) float ordered[kRowsAtOnce * kBlockTokens];
      kernels().code_scores(high, q + std::size_t{r} * dim, n, r == 0 ? next : PrefetchHint{}, ordered);
      kernels().code_scores(low, q + std::size_t{r} * dim, n, {}, ordered + kKeyHigh);
      for (std::uint32_t i = 0; i < n; ++i) {
        float* row = out + std::size_t{r + i} * kBlockTokens;
        for (std::uint32_t t = 0; t < kBlockTokens; ++t) row[order[t]] = ordered[i * kBlockTokens + t];
      }
    }
  }

  static void accumulate(const PageFormat& format, const std::byte* page, std::uint32_t kv_head, const float* p,
                         const float* correction, std::uint32_t rows, std::uint32_t, std::uint8_t, PrefetchHint next,
                         float* acc) {
    const Layout layout(format);
    const std::uint32_t dim = format.shape.head_dim;
    page += kv_head * layout.bytes;
    alignas(64) float channel_scales[kMaxChannels], token_scales[kBlockTokens];
    widen_small_scales(bytes(page + layout.channel_scales), dim, channel_scales);
    widen_small_scales(bytes(page + layout.token_scales), kBlockTokens, token_scales);
    const std::uint32_t all = groups_of(dim, kCodeLanes) * kCodeLanes;
    const CodeValues high = {.codes = codes_of(format, layout, page, true),
                             .twice_middle = kHighMax,
                             .group = all,
                             .token_scale = token_scales,
                             .token_offset = nullptr,
                             .channel_scale = channel_scales};
    const CodeValues low = {.codes = codes_of(format, layout, page, false),
                            .twice_middle = kLowMax,
                            .group = all,
                            .token_scale = token_scales + kValueHigh,
                            .token_offset = nullptr,
                            .channel_scale = channel_scales};
    const Order order = order_of(class_bits(layout, page), kValueHigh);
    static constexpr auto kKeep = [] {
      std::array<float, kRowsAtOnce> ones{};
      ones.fill(1.0f);
      return ones;
    }();
    for (std::uint32_t r = 0; r < rows; r += kRowsAtOnce) {
      const std::uint32_t n = std::min(kRowsAtOnce, rows - r);
      alignas(64) float ordered[kRowsAtOnce * kBlockTokens];
      for (std::uint32_t i = 0; i < n; ++i) {
        const float* row = p + std::size_t{r + i} * kBlockTokens;
        for (std::uint32_t t = 0; t < kBlockTokens; ++t) ordered[i * kBlockTokens + t] = row[order[t]];
      }
      float* into = acc + std::size_t{r} * dim;
      kernels().code_accumulate(high, ordered, correction + r, n, r == 0 ? next : PrefetchHint{}, into);
      kernels().code_accumulate(low, ordered + kValueHigh, kKeep.data(), n, {}, into);
    }
  }

  static CodeMatrix codes_of(const PageFormat& format, const Layout& layout, const std::byte* page, bool high) {
    const bool keys = format.slot == PageSlot::kKeys;
    const std::uint32_t dim = format.shape.head_dim;
    const std::uint32_t tokens = high ? high_of(format.slot) : kBlockTokens - high_of(format.slot);
    return {.codes = bytes(page + (high ? layout.codes_high : layout.codes_low)),
            .bits = high ? kHighBits : kLowBits,
            .lanes = keys ? tokens : dim,
            .depth = keys ? dim : tokens};
  }

  static std::uint64_t class_bits(const Layout& layout, const std::byte* page) {
    std::uint64_t bits;
    std::memcpy(&bits, page + layout.bits, sizeof bits);
    return bits;
  }

  static constexpr std::uint32_t kRowsAtOnce = 8;

  static constexpr Codec codec(std::uint32_t id, std::string_view name) {
    Codec row = head_codec<Zip>(id, name);
    row.signals.mass = true;
    row.bounds.stored = 0.6;  // most tokens have 2 bits
    return row;
  }
};

}  // namespace
}  // namespace codecs

std::span<const Codec> zip_codecs() {
  static constexpr Codec kRows[] = {codecs::Zip<48, 16>::codec(48, "zip"), codecs::Zip<32, 16>::codec(49, "zip-low")};
  return kRows;
}

}  // namespace cairn
