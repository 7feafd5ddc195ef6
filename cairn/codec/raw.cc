// SPDX-License-Identifier: Apache-2.0
// Raw pages: every value in the element type, nothing else stored.
#include <algorithm>
#include <bit>
#include <cstring>
#include <type_traits>

#include "cairn/base/aligned_buffer.h"
#include "cairn/base/half.h"
#include "cairn/codec/codec.h"
#include "cairn/kernels/codes.h"
#include "cairn/kernels/kernels.h"

namespace cairn {
namespace codecs {
namespace {

static_assert(kPageTokens == kBlockTokens && kPageBoxTokens == kBoxTokens && kWholePage == kAllBoxes);

template <Element E>
struct Raw {
  static constexpr std::size_t kElement = static_cast<std::size_t>(E);
  static constexpr std::size_t kBytes = E == Element::kF32 ? 4 : 2;
  using Stored = std::conditional_t<E == Element::kF32, std::uint32_t, std::uint16_t>;

  static std::size_t page_bytes(const PageFormat& format) {
    return format.shape.values_per_token() * kBlockTokens * kBytes;
  }

  static std::size_t head_bytes(PageShape shape) { return std::size_t{shape.head_dim} * kBlockTokens * kBytes; }

  static void store_token(const PageFormat& format, std::byte* page, std::uint32_t slot, const float* row) {
    const PageShape shape = format.shape;
    constexpr std::uint32_t kPiece = 64;
    Stored narrow[kPiece];
    for (std::uint32_t h = 0; h < shape.kv_heads; ++h, page += head_bytes(shape), row += shape.head_dim) {
      auto* values = reinterpret_cast<Stored*>(page);
      if (format.slot == PageSlot::kValues) {
        kernels().narrow[kElement](row, shape.head_dim, values + std::size_t{slot} * shape.head_dim);
        continue;
      }
      for (std::uint32_t d = 0; d < shape.head_dim; d += kPiece) {
        const std::uint32_t count = std::min(kPiece, shape.head_dim - d);
        kernels().narrow[kElement](row + d, count, narrow);
        for (std::uint32_t i = 0; i < count; ++i) values[std::size_t{d + i} * kBlockTokens + slot] = narrow[i];
      }
    }
  }

  // Keys are turned over as floats, a head at a time.
  static void store_block(const PageFormat& format, std::byte* page, const float* rows) {
    const PageShape shape = format.shape;
    const std::uint32_t dim = shape.head_dim, width = static_cast<std::uint32_t>(shape.values_per_token());
    Scratch<float> turned;
    if (format.slot == PageSlot::kKeys) {
      kernels().transpose(rows, kBlockTokens, width, turned.ensure(std::size_t{width} * kBlockTokens));
      kernels().narrow[kElement](turned.data(), std::size_t{width} * kBlockTokens, page);
      return;
    }
    for (std::uint32_t h = 0; h < shape.kv_heads; ++h, page += head_bytes(shape)) {
      for (std::uint32_t t = 0; t < kBlockTokens; ++t) {
        kernels().narrow[kElement](rows + std::size_t{t} * width + h * dim, dim, page + std::size_t{t} * dim * kBytes);
      }
    }
  }

  static void decode(const PageFormat& format, const std::byte* page, std::uint32_t count, float* out) {
    const PageShape shape = format.shape;
    const std::uint32_t dim = shape.head_dim;
    const std::size_t width = shape.values_per_token();
    for (std::uint32_t h = 0; h < shape.kv_heads; ++h, page += head_bytes(shape), out += dim) {
      const auto* values = reinterpret_cast<const Stored*>(page);
      if (format.slot == PageSlot::kValues) {
        for (std::uint32_t t = 0; t < count; ++t) widen_row(values + std::size_t{t} * dim, dim, out + t * width);
        continue;
      }
      constexpr std::uint32_t kPiece = 64;  // channels: what is turned over stays in the nearest cache
      alignas(64) Stored turned[kPiece * kBlockTokens];
      for (std::uint32_t d = 0; d < dim; d += kPiece) {
        const std::uint32_t channels = std::min(kPiece, dim - d);
        turn_over(values + std::size_t{d} * kBlockTokens, channels, count, turned);
        for (std::uint32_t t = 0; t < count; ++t) {
          widen_row(turned + std::size_t{t} * channels, channels, out + t * width + d);
        }
      }
    }
  }

  static void scores(const PageFormat& format, const std::byte* page, std::uint32_t kv_head, const float* q,
                     std::uint32_t rows, std::uint8_t boxes, PrefetchHint next, float* out) {
    const PageShape shape = format.shape;
    kernels().scores[kElement](page + kv_head * head_bytes(shape), shape.head_dim, q, rows, boxes, next, out);
  }

  static void accumulate(const PageFormat& format, const std::byte* page, std::uint32_t kv_head, const float* p,
                         const float* correction, std::uint32_t rows, std::uint32_t count, std::uint8_t boxes,
                         PrefetchHint next, float* acc) {
    const PageShape shape = format.shape;
    page += kv_head * head_bytes(shape);
    if (format.slot == PageSlot::kValues) {
      kernels().accumulate[kElement](page, shape.head_dim, p, correction, rows, count, boxes, next, acc);
      return;
    }
    alignas(64) Stored values[kMaxChannels * kBlockTokens];
    turn_over(reinterpret_cast<const Stored*>(page), shape.value_dim(), count, values);
    kernels().accumulate[kElement](values, shape.value_dim(), p, correction, rows, count, boxes, next, acc);
  }

  // Of keys [channels, kBlockTokens] the values [count, channels], as a page of values would hold them; by small
  // squares, which compilers turn over in registers, where the channels are a multiple of 8. Writes whole squares: up
  // to 7 rows more.
  static void turn_over(const Stored* keys, std::uint32_t channels, std::uint32_t count, Stored* values) {
    constexpr std::uint32_t kSide = 8;
    if (channels % kSide != 0) {
      for (std::uint32_t d = 0; d < channels; ++d) {
        for (std::uint32_t t = 0; t < count; ++t) {
          values[std::size_t{t} * channels + d] = keys[std::size_t{d} * kBlockTokens + t];
        }
      }
      return;
    }
    for (std::uint32_t d = 0; d < channels; d += kSide) {
      for (std::uint32_t t = 0; t < count; t += kSide) {
        Stored square[kSide][kSide];
        for (std::uint32_t i = 0; i < kSide; ++i) {
          std::memcpy(square[i], keys + std::size_t{d + i} * kBlockTokens + t, sizeof square[i]);
        }
        for (std::uint32_t j = 0; j < kSide; ++j) {
          Stored row[kSide];
          for (std::uint32_t i = 0; i < kSide; ++i) row[i] = square[i][j];
          std::memcpy(values + std::size_t{t + j} * channels + d, row, sizeof row);
        }
      }
    }
  }

  static PrefetchHint head_part(const PageFormat& format, const std::byte* page, std::uint32_t kv_head,
                                std::uint8_t boxes) {
    const PageShape shape = format.shape;
    const std::size_t box_bytes = std::size_t{kBoxTokens} * kBytes;  // of a channel of keys
    return {page + kv_head * head_bytes(shape), head_bytes(shape), boxes,
            format.slot == PageSlot::kKeys ? box_bytes : box_bytes * shape.head_dim};
  }

  static void widen_row(const Stored* row, std::uint32_t count, float* out) {
    if constexpr (E == Element::kF16) {
      kernels().widen_f16(row, count, out);
    } else {
      for (std::uint32_t d = 0; d < count; ++d) {
        if constexpr (E == Element::kBF16) out[d] = bf16_to_f32(row[d]);
        if constexpr (E == Element::kF32) out[d] = std::bit_cast<float>(row[d]);
      }
    }
  }

  static constexpr Codec codec(std::uint32_t id, std::string_view name) {
    return {.id = id,
            .name = name,
            .exact = true,
            .bounds = {.stored = E == Element::kBF16 ? 0x1p-8 : 0x1p-11, .scores = 2e-6, .outputs = 2e-6},
            .page_bytes = page_bytes,
            .store_token = store_token,
            .store_block = store_block,
            .decode = decode,
            .scores = scores,
            .accumulate = accumulate,
            .head_part = head_part};
  }
};

}  // namespace
}  // namespace codecs

std::span<const Codec> raw_codecs() {
  static constexpr Codec kRows[] = {codecs::Raw<Element::kF16>::codec(1, "raw_f16"),
                                    codecs::Raw<Element::kBF16>::codec(2, "raw_bf16"),
                                    codecs::Raw<Element::kF32>::codec(3, "raw_f32")};
  return kRows;
}

}  // namespace cairn
