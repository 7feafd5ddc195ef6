// SPDX-License-Identifier: Apache-2.0
// Product quantisation with trained codebooks (MILLION): a token's head is a gain of one byte times a centroid for each
// sub-vector, plus the mean of each channel. Two forms of four bits per value, whose tables pq_head.h describes:
//
//   pq4      one channel per sub-vector, 16 centroids: tables that fit into registers beside the codes
//   pq4-256  two channels per sub-vector, 256 centroids, as published. Each code is a look-up in memory, so a head is
//            expanded to bytes before it is attended: the slower one, to attend and much more so to encode.
//
// Heads go through a Hadamard transform, and means are taken off keys and values alike, because of the mean KL on the
// demo model: 0.0040 for pq4 against 0.0070 without the transform; without means, keys alone 0.0082 against 0.0035 and
// values 0.00077 against 0.00063.
#include <algorithm>
#include <cstring>

#include "cairn/codec/head_quantizer.h"
#include "cairn/codec/pq_head.h"
#include "cairn/kernels/kernels.h"

namespace cairn {
namespace codecs {
namespace {

constexpr std::int32_t kTwiceMiddle = 255;

// 16 centroids for each channel.
struct Channels {
  static constexpr PqForm kForm = PqForm::kChannels;

  static std::size_t bytes_of_codes(std::uint32_t dim, bool keys) {
    return keys ? code_bytes(kBlockTokens, dim, 4) : code_bytes(dim, kBlockTokens, 4);
  }

  static void encode(const PqTable& table, std::uint32_t dim, bool keys, PqHead& head, std::uint8_t* out) {
    const PqLevels levels(table, dim);
    head.choose_gains(levels);
    std::uint8_t codes[kMaxChannels * kBlockTokens];
    head.write_codes(levels, codes);
    if (keys) {
      kernels().pack_codes(codes, kBlockTokens, 1, kBlockTokens, dim, 4, out);
    } else {
      kernels().pack_codes(codes, 1, kBlockTokens, dim, kBlockTokens, 4, out);
    }
  }

  // `expanded` is room that this form does not need.
  static CodeMatrix matrix(const PqTable& table, std::uint32_t dim, bool keys, const std::uint8_t* codes,
                           std::uint8_t* /*expanded*/) {
    return {.codes = codes,
            .bits = 4,
            .lanes = keys ? kBlockTokens : dim,
            .depth = keys ? dim : kBlockTokens,
            .levels = table.levels};
  }

  static std::uint8_t level_at(const CodeMatrix& matrix, std::uint32_t lane, std::uint32_t depth,
                               std::uint32_t channel) {
    return matrix.levels[std::size_t{channel} * kPqLevels + code_at(matrix, lane, depth)];
  }
};

// 256 centroids for each pair of channels. Codes lie in the order in which the packed bytes are built: two pairs of a
// key for each of 16 tokens, four tokens of a value for each of 8 pairs; channels are padded to 16 as values need it.
struct Pairs {
  static constexpr PqForm kForm = PqForm::kPairs;

  static std::size_t bytes_of_codes(std::uint32_t dim, bool keys) {
    return (keys ? code_bytes(kBlockTokens, dim, 8) : code_bytes(dim, kBlockTokens, 8)) / 2;
  }

  // Where the code of a pair of channels of a token lies.
  static std::size_t place(std::uint32_t dim, bool keys, std::uint32_t token, std::uint32_t pair) {
    if (keys) return ((std::size_t{token / 16} * (dim / 4) + pair / 2) * 16 + token % 16) * 2 + pair % 2;
    return ((std::size_t{pair / 8} * (kBlockTokens / 4) + token / 4) * 8 + pair % 8) * 4 + token % 4;
  }

  static void encode(const PqTable& table, std::uint32_t dim, bool keys, PqHead& head, std::uint8_t* out) {
    head.choose_gains(table);
    std::memset(out, 0, bytes_of_codes(dim, keys));
    for (std::uint32_t pair = 0; pair < dim / 2; ++pair) {
      std::uint8_t codes[kBlockTokens];
      head.write_codes(table, pair, codes);
      for (std::uint32_t t = 0; t < kBlockTokens; ++t) out[place(dim, keys, t, pair)] = codes[t];
    }
  }

  static CodeMatrix matrix(const PqTable& table, std::uint32_t dim, bool keys, const std::uint8_t* codes,
                           std::uint8_t* expanded) {
    if (keys) {
      expand_keys(table.levels, dim, codes, expanded);
    } else {
      expand_values(table.levels, dim, codes, expanded);
    }
    return {.codes = expanded, .bits = 8, .lanes = keys ? kBlockTokens : dim, .depth = keys ? dim : kBlockTokens};
  }

  static std::uint16_t centroid(const std::uint8_t* levels, std::uint32_t code) {
    std::uint16_t both;
    std::memcpy(&both, levels + 2 * code, sizeof both);
    return both;
  }

  static void expand_keys(const std::uint8_t* levels, std::uint32_t dim, const std::uint8_t* codes, std::uint8_t* out) {
    for (std::uint32_t block = 0; block < kBlockTokens / 16; ++block) {
      for (std::uint32_t d = 0; d < dim; d += 4) {
        const std::uint8_t* low = levels + std::size_t{d} * kPqCentroids;
        const std::uint8_t* high = low + 2 * kPqCentroids;
        for (std::uint32_t i = 0; i < 16; ++i, codes += 2, out += 4) {
          const std::uint16_t pairs[2] = {centroid(low, codes[0]), centroid(high, codes[1])};
          std::memcpy(out, pairs, sizeof pairs);
        }
      }
    }
  }

  static void expand_values(const std::uint8_t* levels, std::uint32_t dim, const std::uint8_t* codes,
                            std::uint8_t* out) {
    for (std::uint32_t lane = 0; lane < dim; lane += 16) {
      const std::uint32_t pairs = std::min(8u, (dim - lane) / 2);
      for (std::uint32_t quad = 0; quad < kBlockTokens / 4; ++quad, codes += 32, out += 64) {
        std::memset(out, 0, 64);
        for (std::uint32_t pair = 0; pair < pairs; ++pair) {
          const std::uint8_t* table = levels + (std::size_t{lane} / 2 + pair) * kPqCentroids * 2;
          std::uint64_t both = 0;
          for (std::uint32_t j = 0; j < 4; ++j) {
            const std::uint64_t at = centroid(table, codes[pair * 4 + j]);
            both |= (at & 0xff) << (8 * j) | (at >> 8) << (32 + 8 * j);
          }
          std::memcpy(out + pair * 8, &both, sizeof both);
        }
      }
    }
  }

  static std::uint8_t level_at(const CodeMatrix& matrix, std::uint32_t lane, std::uint32_t depth, std::uint32_t) {
    return code_at(matrix, lane, depth);
  }
};

template <class Form, bool kHadamard>
struct Pq {
  // Of one head.
  struct Layout {
    std::size_t codes, gains, bytes;

    explicit Layout(const PageFormat& format) {
      PageLayout layout;
      codes = layout.take(Form::bytes_of_codes(format.shape.head_dim, format.slot == PageSlot::kKeys));
      gains = layout.take(kBlockTokens);
      bytes = layout.size();
    }
  };

  static std::size_t codebook_bytes(PageShape shape) {
    return pq_head_bytes(Form::kForm, shape.head_dim) * shape.kv_heads;
  }

  static void encode(const PageFormat& format, const OpenBlock& block, std::byte* page) {
    const Layout layout(format);
    const std::uint32_t dim = format.shape.head_dim;
    for (std::uint32_t h = 0; h < format.shape.kv_heads; ++h, page += layout.bytes) {
      const PqTable table = pq_table(Form::kForm, dim, h, format.codebook);
      PqHead head(table, dim, HeadBlock(format, block.page, h).by_channel());
      Form::encode(table, dim, format.slot == PageSlot::kKeys, head, bytes(page + layout.codes));
      std::memcpy(page + layout.gains, head.gains(), kBlockTokens);
    }
  }

  static void decode(const PageFormat& format, const std::byte* page, std::uint32_t count, float* out) {
    const Layout layout(format);
    const std::uint32_t dim = format.shape.head_dim;
    const bool keys = format.slot == PageSlot::kKeys;
    for (std::uint32_t h = 0; h < format.shape.kv_heads; ++h, page += layout.bytes) {
      const PqTable table = pq_table(Form::kForm, dim, h, format.codebook);
      alignas(64) std::uint8_t expanded[kMaxExpanded];
      const CodeMatrix matrix = Form::matrix(table, dim, keys, bytes(page + layout.codes), expanded);
      float gains[kBlockTokens];
      widen_small_scales(bytes(page + layout.gains), kBlockTokens, gains);
      for (std::uint32_t t = 0; t < count; ++t) {
        float* row = out + (std::size_t{t} * format.shape.kv_heads + h) * dim;
        for (std::uint32_t d = 0; d < dim; ++d) {
          const std::uint8_t level = Form::level_at(matrix, keys ? t : d, keys ? d : t, d);
          row[d] = table.mean[d] + gains[t] * table.scale[d] * pq_level(level);
        }
      }
    }
  }

  static void scores(const PageFormat& format, const std::byte* page, std::uint32_t kv_head, const float* q,
                     std::uint32_t rows, std::uint8_t boxes, PrefetchHint next, float* out) {
    const Layout layout(format);
    const std::uint32_t dim = format.shape.head_dim;
    const PqTable table = pq_table(Form::kForm, dim, kv_head, format.codebook);
    page += kv_head * layout.bytes;
    alignas(64) std::uint8_t expanded[kMaxExpanded];
    alignas(64) float gains[kBlockTokens];
    widen_small_scales(bytes(page + layout.gains), kBlockTokens, gains);
    const CodeKeys keys = {.codes = Form::matrix(table, dim, true, bytes(page + layout.codes), expanded),
                           .twice_middle = kTwiceMiddle,
                           .channel_scale = table.scale,
                           .offset = table.mean,
                           .token_scale = gains,
                           .token_scale_stride = 0,
                           .boxes = boxes};
    kernels().code_scores(keys, q, rows, next, out);
  }

  static void accumulate(const PageFormat& format, const std::byte* page, std::uint32_t kv_head, const float* p,
                         const float* correction, std::uint32_t rows, std::uint32_t, std::uint8_t boxes,
                         PrefetchHint next, float* acc) {
    const Layout layout(format);
    const std::uint32_t dim = format.shape.head_dim;
    const PqTable table = pq_table(Form::kForm, dim, kv_head, format.codebook);
    page += kv_head * layout.bytes;
    alignas(64) std::uint8_t expanded[kMaxExpanded];
    alignas(64) float gains[kBlockTokens];
    widen_small_scales(bytes(page + layout.gains), kBlockTokens, gains);
    const CodeValues values = {.codes = Form::matrix(table, dim, false, bytes(page + layout.codes), expanded),
                               .twice_middle = kTwiceMiddle,
                               .group = (dim + 15) / 16 * 16,
                               .token_scale = gains,
                               .token_offset = nullptr,
                               .channel_scale = table.scale,
                               .boxes = boxes};
    kernels().code_accumulate(values, p, correction, rows, next, acc);
    for (std::uint32_t r = 0; r < rows; ++r)
      add_means(table.mean, dim, p + r * kBlockTokens, acc + r * std::size_t{dim});
  }

  static constexpr std::size_t kMaxExpanded =
      Form::kForm == PqForm::kPairs ? code_bytes(kMaxChannels, kBlockTokens, 8) : 64;

  static constexpr Codec codec(std::uint32_t id, std::string_view name) {
    Codec row = head_codec<Pq>(id, name);
    row.basis = kHadamard ? BasisKind::kHadamard : BasisKind::kModel;
    row.needs_codebook = true;
    row.made_by = "cairn tune codebooks";
    row.codebook_bytes = codebook_bytes;
    return row;
  }
};

}  // namespace
}  // namespace codecs

std::span<const Codec> pq_codecs() {
  static constexpr Codec kRows[] = {codecs::Pq<codecs::Channels, true>::codec(codecs::kPq4Id, "pq4"),
                                    codecs::Pq<codecs::Pairs, true>::codec(codecs::kPq4PairsId, "pq4-256")};
  return kRows;
}

}  // namespace cairn
