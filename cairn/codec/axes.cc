// SPDX-License-Identifier: Apache-2.0
// Keys and values on learnt axes, two to four bits each. A token of a head is a gain of one byte times a point for each
// group of 1, 2, 4 or 8 axes, one of 16, plus the mean on each axis. So one code of four bits is worth four bits to an
// axis on which the head varies much, and half a bit to one on which it hardly does; axes_table.h has the tables.
//
// After OSCAR's rotations that know the model, with vector codebooks in place of its scalar ones. The first token of a
// sequence is exact, in pages that say so (PageFormat::exact_tokens): its keys are unlike all others, and with them
// coded SmolLM2 loses ten times as much.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "cairn/base/half.h"
#include "cairn/codec/axes_table.h"
#include "cairn/codec/head_quantizer.h"
#include "cairn/kernels/kernels.h"

namespace cairn {
namespace codecs {
namespace {

constexpr std::int32_t kTwiceMiddle = 255;

// A gain is a byte: 0 for none, else 2^((code - 128) / 16), so neighbours are 4.4 % apart. It scales all scores of its
// token alike, which the steps of small scales, 6 to 13 %, are too coarse for. Multiplied up, for the same bits
// anywhere.
struct Gains {
  float values[256];
  constexpr Gains() : values() {
    constexpr double kStep = 1.0442737824274138;  // 2^(1/16)
    double octave = 1.0 / 256;
    for (std::uint32_t code = 0; code < 256; code += 16, octave *= 2) {
      double value = octave;
      for (std::uint32_t i = 0; i < 16; ++i, value *= kStep) values[code + i] = static_cast<float>(value);
    }
    values[0] = 0.0f;
  }
};
constexpr Gains kGains;

// The code of the nearest gain; the greatest for what is larger, and none for what is not above zero or far too small.
std::uint8_t gain_nearest(float wanted) {
  const float* above = std::lower_bound(kGains.values, kGains.values + 255, wanted);
  const auto code = static_cast<std::uint8_t>(above - kGains.values);
  if (code == 0 || !(wanted > 0.0f)) return 0;
  return wanted - kGains.values[code - 1] < kGains.values[code] - wanted ? static_cast<std::uint8_t>(code - 1) : code;
}

// The gain is at most this many times the one with the least error, however badly the points fit a token.
constexpr float kMaxStretch = 2.0f;

// Where the parts of one head lie in a page: codes, gains, exact tokens [exact_tokens, head_dim] in f16.
struct AxesLayout {
  std::size_t begin = 0, gains = 0, exact = 0, end = 0;

  AxesLayout(const PageFormat& format, std::uint32_t kv_head) {
    for (std::uint32_t h = 0; h <= kv_head; ++h) {
      const AxesHead head = AxesHead::of(format.shape, h, format.codebook);
      begin = end;
      gains = begin + shared_code_bytes(share_extents(head.shares).blocks, format.slot == PageSlot::kKeys);
      exact = gains + kBlockTokens;
      end = exact + std::size_t{format.exact_tokens} * format.shape.head_dim * sizeof(std::uint16_t);
    }
  }
};

// One head of a page, as the hooks meet it.
struct AxesPage {
  AxesHead head;
  AxesLayout layout;
  CodeMatrix codes;
  const std::uint16_t* exact;
  alignas(64) float gains[kBlockTokens];

  AxesPage(const PageFormat& format, const std::byte* page, std::uint32_t kv_head)
      : head(AxesHead::of(format.shape, kv_head, format.codebook)), layout(format, kv_head) {
    const bool keys = format.slot == PageSlot::kKeys;
    const std::uint32_t dim = format.shape.head_dim;
    codes = {.codes = bytes(page + layout.begin),
             .bits = 4,
             .lanes = keys ? kBlockTokens : dim,
             .depth = keys ? dim : kBlockTokens,
             .levels = head.levels,
             .shares = head.shares};
    exact = halves(page + layout.exact);
    for (std::uint32_t t = 0; t < kBlockTokens; ++t) gains[t] = kGains.values[bytes(page + layout.gains)[t]];
  }
};

// A head on its way into codes: centred and weighted, and for each token the gain and the codes of the best try so far.
// Large; on the stack of an encoder.
class AxesEncoder {
 public:
  AxesEncoder(const AxesHead& head, PageSlot slot, std::uint32_t dim, const float* by_channel)
      : head_(head), slot_(slot), dim_(dim) {
    std::fill_n(squares_, kBlockTokens, 0.0f);
    float lengths[kBlockTokens] = {};
    for (std::uint32_t c = 0; c < dim; ++c) {
      const float* row = by_channel + std::size_t{c} * kBlockTokens;
      float* to = weighted_ + std::size_t{c} * kBlockTokens;
      for (std::uint32_t t = 0; t < kBlockTokens; ++t) {
        const float centred = row[t] - head.mean[c];
        lengths[t] += centred * centred;
        to[t] = centred * head.weight[c];
        squares_[t] += to[t] * to[t];
      }
    }
    for (std::uint32_t t = 0; t < kBlockTokens; ++t) {
      start_[t] = gain_nearest(std::sqrt(lengths[t] / static_cast<float>(dim)));
      least_[t] = INFINITY;
    }
  }

  // Gains are tried around the root mean square of the token, a fifth apart; each is then brought to
  // what suits its codes best.
  void choose() {
    for (const int step : {-4, 0, 4}) attempt(step);
  }

  std::span<const std::uint8_t> codes() const { return {codes_, codes_of_head() * kBlockTokens}; }  // [codes, tokens]
  const std::uint8_t* gains() const { return gains_; }

 private:
  std::size_t codes_of_head() const { return std::size_t{share_extents(head_.shares).blocks} * axes_block(slot_); }

  void attempt(int step) {
    float gain[kBlockTokens], inverse[kBlockTokens];
    for (std::uint32_t t = 0; t < kBlockTokens; ++t) {
      gain[t] = start_[t] == 0 ? 0.0f : kGains.values[std::clamp(start_[t] + step, 1, 255)];
      inverse[t] = gain[t] > 0.0f ? 1.0f / gain[t] : 0.0f;
    }
    for (std::uint32_t c = 0; c < dim_; ++c) {
      const std::size_t at = std::size_t{c} * kBlockTokens;
      for (std::uint32_t t = 0; t < kBlockTokens; ++t) units_[at + t] = weighted_[at + t] * inverse[t];
    }
    float distance[kBlockTokens] = {}, energy[kBlockTokens] = {};
    find_codes(distance, energy);
    for (std::uint32_t t = 0; t < kBlockTokens; ++t) keep_better(t, gain[t], inverse[t], distance[t], energy[t]);
  }

  void find_codes(float* distance, float* energy) {
    const std::uint32_t block = axes_block(slot_);
    float points[kAxesLevels << (kShareKinds - 1)];
    std::uint8_t* to = tried_;
    std::uint32_t first = 0;
    for (std::uint32_t kind = 0; kind < kShareKinds; ++kind) {
      const std::uint32_t width = 1u << kind;
      for (std::uint32_t b = 0; b < head_.shares[kind]; ++b, first += block * width) {
        for (std::uint32_t j = 0; j < block; ++j, to += kBlockTokens) {
          axes_points(head_, slot_, first + j, width, points);
          kernels().nearest_codes(units_ + std::size_t{first + j} * kBlockTokens, std::size_t{block} * kBlockTokens,
                                  width, points, to, distance, energy);
        }
      }
    }
  }

  // In units of the gain, with the token x and its point p: x p = (x x + p p - distance) / 2. The gain x x / x p leaves
  // the token's own length in its direction; x p / p p, which has the least error, would shorten it, and with all keys
  // shorter attention is flatter: on SmolLM2 at 2.4 bits that costs a fifth of the mean KL and half of the
  // perplexity's.
  void keep_better(std::uint32_t t, float gain, float inverse, float distance, float energy) {
    const float square = squares_[t] * inverse * inverse;
    const float product = 0.5f * (square + energy - distance);
    const bool fits = product > 0.0f && energy > 0.0f;
    const float wanted = fits ? std::min(square / product, kMaxStretch * product / energy) : 0.0f;
    const std::uint8_t code = gain_nearest(gain * wanted);
    const float best = kGains.values[code], share = best * inverse;
    const float error = gain * gain * (square - 2.0f * share * product + share * share * energy);
    const float own = gain > 0.0f ? error : squares_[t];
    if (!(own < least_[t]) && step_taken_[t]) return;
    least_[t] = own;
    gains_[t] = gain > 0.0f ? code : std::uint8_t{0};
    step_taken_[t] = true;
    for (std::size_t i = 0; i < codes_of_head(); ++i) codes_[i * kBlockTokens + t] = tried_[i * kBlockTokens + t];
  }

  AxesHead head_;
  PageSlot slot_;
  std::uint32_t dim_;
  std::uint8_t start_[kBlockTokens], gains_[kBlockTokens];
  bool step_taken_[kBlockTokens] = {};
  float squares_[kBlockTokens], least_[kBlockTokens];
  alignas(64) float weighted_[kMaxChannels * kBlockTokens];
  alignas(64) float units_[kMaxChannels * kBlockTokens];
  alignas(64) std::uint8_t tried_[kMaxChannels * kBlockTokens];
  alignas(64) std::uint8_t codes_[kMaxChannels * kBlockTokens];
};

void encode(const PageFormat& format, const OpenBlock& block, std::byte* page) {
  const std::uint32_t dim = format.shape.head_dim;
  const bool keys = format.slot == PageSlot::kKeys;
  std::size_t end = 0;
  for (std::uint32_t h = 0; h < format.shape.kv_heads; ++h) {
    const AxesHead head = AxesHead::of(format.shape, h, format.codebook);
    const AxesLayout layout(format, h);
    const HeadBlock rows(format, block.page, h);
    AxesEncoder encoder(head, format.slot, dim, rows.by_channel());
    encoder.choose();
    const auto count = static_cast<std::uint32_t>(encoder.codes().size() / kBlockTokens);
    std::uint8_t* to = bytes(page + layout.begin);
    if (keys) {
      kernels().pack_codes(encoder.codes().data(), kBlockTokens, 1, kBlockTokens, count, 4, to);
    } else {
      kernels().pack_codes(encoder.codes().data(), 1, kBlockTokens, count, kBlockTokens, 4, to);
    }
    std::memcpy(page + layout.gains, encoder.gains(), kBlockTokens);
    kernels().narrow[static_cast<std::size_t>(Element::kF16)](rows.by_token(), std::size_t{format.exact_tokens} * dim,
                                                              page + layout.exact);
    end = layout.end;
  }
  std::memset(page + end, 0, page_of_heads(end, 1) - end);
}

void decode(const PageFormat& format, const std::byte* page, std::uint32_t count, float* out) {
  const std::uint32_t dim = format.shape.head_dim, block = axes_block(format.slot);
  const bool keys = format.slot == PageSlot::kKeys;
  for (std::uint32_t h = 0; h < format.shape.kv_heads; ++h) {
    const AxesPage own(format, page, h);
    CodeMatrix stored = own.codes;
    (keys ? stored.depth : stored.lanes) = share_extents(own.head.shares).blocks * block;
    for (std::uint32_t d = 0; d < dim; ++d) {
      const std::uint32_t code = shared_block(own.head.shares, d / block) * block + d % block;
      for (std::uint32_t t = 0; t < count; ++t) {
        const std::uint8_t level = own.head.levels[d * kAxesLevels + code_at(stored, keys ? t : code, keys ? code : t)];
        float& to = out[(std::size_t{t} * format.shape.kv_heads + h) * dim + d];
        to = own.head.mean[d] + own.gains[t] * own.head.scale[d] * (static_cast<float>(level) - kAxesMiddle);
        if (t < format.exact_tokens) to = f16_to_f32(own.exact[t * dim + d]);
      }
    }
  }
}

void scores(const PageFormat& format, const std::byte* page, std::uint32_t kv_head, const float* q, std::uint32_t rows,
            std::uint8_t boxes, PrefetchHint next, float* out) {
  const std::uint32_t dim = format.shape.head_dim;
  const AxesPage own(format, page, kv_head);
  const CodeKeys keys = {.codes = own.codes,
                         .twice_middle = kTwiceMiddle,
                         .channel_scale = own.head.scale,
                         .offset = own.head.mean,
                         .token_scale = own.gains,
                         .token_scale_stride = 0,
                         .boxes = boxes};
  kernels().code_scores(keys, q, rows, next, out);
  if ((boxes & 1) == 0) return;
  for (std::uint32_t t = 0; t < format.exact_tokens; ++t) {
    for (std::uint32_t r = 0; r < rows; ++r) {
      float sum = 0;
      for (std::uint32_t d = 0; d < dim; ++d) sum += q[std::size_t{r} * dim + d] * f16_to_f32(own.exact[t * dim + d]);
      out[std::size_t{r} * kBlockTokens + t] = sum;
    }
  }
}

void accumulate(const PageFormat& format, const std::byte* page, std::uint32_t kv_head, const float* p,
                const float* correction, std::uint32_t rows, std::uint32_t, std::uint8_t boxes, PrefetchHint next,
                float* acc) {
  constexpr std::uint32_t kRows = 8;  // whose weights are copied, where exact tokens must not count as codes
  const std::uint32_t dim = format.shape.head_dim;
  const AxesPage own(format, page, kv_head);
  const CodeValues values = {.codes = own.codes,
                             .twice_middle = kTwiceMiddle,
                             .group = dim,
                             .token_scale = own.gains,
                             .token_offset = nullptr,
                             .channel_scale = own.head.scale,
                             .boxes = boxes};
  if (format.exact_tokens == 0) {
    kernels().code_accumulate(values, p, correction, rows, next, acc);
    for (std::uint32_t r = 0; r < rows; ++r)
      add_means(own.head.mean, dim, p + r * kBlockTokens, acc + r * std::size_t{dim});
    return;
  }
  for (std::uint32_t first = 0; first < rows; first += kRows) {
    const std::uint32_t count = std::min(kRows, rows - first);
    const float* weights = p + std::size_t{first} * kBlockTokens;
    float coded[kRows * kBlockTokens];
    std::copy_n(weights, count * kBlockTokens, coded);
    for (std::uint32_t r = 0; r < count; ++r) std::fill_n(coded + r * kBlockTokens, format.exact_tokens, 0.0f);
    float* sums = acc + std::size_t{first} * dim;
    kernels().code_accumulate(values, coded, correction + first, count, next, sums);
    for (std::uint32_t r = 0; r < count; ++r) {
      float* row = sums + r * std::size_t{dim};
      add_means(own.head.mean, dim, coded + r * kBlockTokens, row);
      for (std::uint32_t t = 0; t < format.exact_tokens; ++t) {
        const float weight = weights[r * kBlockTokens + t];
        for (std::uint32_t d = 0; d < dim; ++d) row[d] += weight * f16_to_f32(own.exact[t * dim + d]);
      }
    }
  }
}

constexpr Codec axes_codec() {
  Codec row;
  row.id = kAxesId;
  row.name = "axes";
  row.bounds = {.stored = 0.5};
  row.basis = BasisKind::kTrained;
  row.basis_matrices = [](const std::byte* codebook) { return reinterpret_cast<const float*>(codebook); };
  row.needs_codebook = true;
  row.made_by = "cairn tune rotate";
  row.exact_tokens = 1;
  row.channel_unit = kValueShareBlock;
  row.codebook_bytes = axes_table_bytes;
  row.check_codebook = check_axes_table;
  row.page_bytes = [](const PageFormat& format) {
    return page_of_heads(AxesLayout(format, format.shape.kv_heads - 1).end, 1);
  };
  row.encode = encode;
  row.decode = decode;
  row.scores = scores;
  row.accumulate = accumulate;
  row.head_part = [](const PageFormat& format, const std::byte* page, std::uint32_t kv_head, std::uint8_t) {
    const AxesLayout layout(format, kv_head);
    return PrefetchHint{page + layout.begin, layout.end - layout.begin};
  };
  return row;
}

}  // namespace
}  // namespace codecs

std::span<const Codec> axes_codecs() {
  static constexpr Codec kRows[] = {codecs::axes_codec()};
  return kRows;
}

}  // namespace cairn
