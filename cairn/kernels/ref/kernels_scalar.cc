// SPDX-License-Identifier: Apache-2.0
// The scalar definition of every kernel. Speed does not matter here; the order of operations does.

#include "cairn/kernels/code_rows-inl.h"
#include "cairn/kernels/dense-inl.h"
#include "cairn/kernels/elementwise-inl.h"
#include "cairn/kernels/encode-inl.h"
#include "cairn/kernels/kernels.h"
#include "cairn/kernels/matmul-inl.h"
#include "cairn/kernels/plain_loops-inl.h"

namespace cairn {
namespace {

// 16 floats for dense-inl.h.
struct ScalarLanes {
  struct Type {
    float at[kPanelRows];
  };
  static constexpr std::uint32_t kRows = 1, kPanels = 1, kFewRows = 1, kFewPanels = 1, kOneRowPanels = 1;

  static Type load(const float* from) {
    Type lanes;
    __builtin_memcpy(lanes.at, from, sizeof lanes.at);
    return lanes;
  }
  static void store(const Type& lanes, float* to) { __builtin_memcpy(to, lanes.at, sizeof lanes.at); }
  template <class E>
  static Type widen(E, const typename E::Type* from) {
    Type lanes;
    for (std::uint32_t i = 0; i < kPanelRows; ++i) lanes.at[i] = E::load(from[i]);
    return lanes;
  }
  static float spread(float x) { return x; }
  static Type fused(const Type& w, float x, Type sum) {
    for (std::uint32_t i = 0; i < kPanelRows; ++i) sum.at[i] = cairn::fused(w.at[i], x, sum.at[i]);
    return sum;
  }
};

// One output of one chunk: lane `lane` of the panel, row `row` of the tile.
template <class Format>
struct ScalarProduct {
  static constexpr std::uint32_t kCols = Format::kGroupQuads * 4;  // of a group
  const Chunk& chunk;
  const TileView& tile;
  std::uint32_t lane, row;

  std::int32_t dot(std::uint32_t group) const {
    std::int32_t sum = 0;
    for (std::uint32_t col = group * kCols; col < (group + 1) * kCols; ++col) {
      const std::uint8_t code = chunk.codes[col / 32 * chunk.stride + col % 32 / 4 * kQuadBytes + lane * 4 + col % 4];
      const std::int8_t activation = tile.codes[(std::size_t{col / 4} * tile.rows + row) * 4 + col % 4];
      sum += (static_cast<std::int32_t>(code) - static_cast<std::int32_t>(Format::kZeroPoint)) * activation;
    }
    return sum;
  }
  float scale(std::uint32_t group) const { return chunk.scales[group * kPanelRows + lane]; }
  float minimum(std::uint32_t group) const { return chunk.minima[group * kPanelRows + lane]; }
  std::size_t activation_group(std::uint32_t g) const { return std::size_t{g} * tile.rows + row; }  // of 32

  // Factors times the sums of the activations that they meet, over the unit.
  float minima() const {
    float total = 0.0f;
    for (std::uint32_t g = 0; g < chunk.cols / 32; ++g) {
      if constexpr (kParts<Format> == 1) {
        total = fused(minimum(g), tile.sums[activation_group(g)], total);
      } else {
        const std::int32_t* codes = tile.biases + std::size_t{2 * g} * tile.rows + row;
        const float both =
            minimum(2 * g) * static_cast<float>(codes[0]) + minimum(2 * g + 1) * static_cast<float>(codes[tile.rows]);
        total = fused(both, tile.scales[activation_group(g)], total);
      }
    }
    return total;
  }

  void add_to(float& sum) const {
    float unit = 0.0f;
    float& total = Format::kFactors ? unit : sum;
    for (std::uint32_t group = 0; group < chunk.cols / kCols; ++group) {
      const std::size_t at = activation_group(group * kCols / 32);
      total = fused(static_cast<float>(dot(group)) * scale(group), tile.scales[at], total);
      if constexpr (Format::kMinimum && !Format::kFactors) total = fused(-minimum(group), tile.sums[at], total);
    }
    if constexpr (Format::kFactors) sum = fused(unit, chunk.unit_scale[lane], sum);
    if constexpr (Format::kFactors && Format::kMinimum) sum = fused(-minima(), chunk.unit_minimum[lane], sum);
  }
};

struct ScalarDot {
  static constexpr std::uint32_t kInPanelRows = 0;

  template <class Format, std::uint32_t T>
  static void step(const Chunk& chunk, const TileView& tile, std::uint32_t offset, float* acc) {
    for (std::uint32_t i = 0; i < T * kPanelRows; ++i) {
      ScalarProduct<Format>{chunk, tile, i % kPanelRows, offset + i / kPanelRows}.add_to(acc[i]);
    }
  }
};

void quantise_tile(const float* x, std::size_t x_stride, ActivationTiles out, std::uint32_t tile) {
  const std::size_t before = std::size_t{tile} * kTileRows;
  const std::uint32_t n = smaller(kTileRows, out.rows - tile * kTileRows);
  for (std::uint32_t r = 0; r < n; ++r) {
    const float* row = x + (before + r) * x_stride;
    for (std::uint32_t g = 0; g < out.cols / 32; ++g) {
      const float* group = row + g * 32;
      float largest = 0.0f;
      for (int k = 0; k < 32; ++k) largest = __builtin_fabsf(group[k]) > largest ? __builtin_fabsf(group[k]) : largest;
      const float inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
      const float scale = largest / 127.0f;
      std::int32_t sums[2] = {};
      for (std::uint32_t k = 0; k < 32; ++k) {
        float value = group[k] * inverse;
        value = value > -127.0f ? value : -127.0f;
        value = value < 127.0f ? value : 127.0f;
        const auto code = static_cast<std::int8_t>(__builtin_nearbyintf(value));
        sums[k / 16] += code;
        out.codes[before * out.cols + ((std::size_t{g} * 8 + k / 4) * n + r) * 4 + k % 4] = code;
      }
      const std::size_t at = before * (out.cols / 32) + std::size_t{g} * n + r;
      out.scales[at] = scale;
      out.sums[at] = scale * static_cast<float>(sums[0] + sums[1]);
      std::int32_t* biases = out.biases + before * (out.cols / 16) + std::size_t{g} * 2 * n + r;
      biases[0] = -128 * sums[0];
      biases[n] = -128 * sums[1];
    }
  }
}

inline bool is_in(std::uint8_t boxes, std::uint32_t token) {
  return (boxes >> token / kPageBoxTokens & 1) != 0;
}

template <class E>
void scores(const void* keys, std::uint32_t head_dim, const float* q, std::uint32_t rows, std::uint8_t boxes,
            PrefetchHint, float* out) {
  const auto* k = static_cast<const typename E::Type*>(keys);
  for (std::uint32_t r = 0; r < rows; ++r) {
    for (std::uint32_t t = 0; t < kPageTokens; ++t) {
      if (!is_in(boxes, t)) continue;
      float sum = 0.0f;
      for (std::uint32_t d = 0; d < head_dim; ++d)
        sum = fused(E::load(k[d * kPageTokens + t]), q[r * head_dim + d], sum);
      out[r * kPageTokens + t] = sum;
    }
  }
}

template <class E>
void accumulate(const void* values, std::uint32_t head_dim, const float* p, const float* correction, std::uint32_t rows,
                std::uint32_t count, std::uint8_t boxes, PrefetchHint, float* acc) {
  const auto* v = static_cast<const typename E::Type*>(values);
  for (std::uint32_t r = 0; r < rows; ++r) {
    for (std::uint32_t d = 0; d < head_dim; ++d) {
      float sum = acc[r * head_dim + d] * correction[r];
      for (std::uint32_t t = 0; t < count; ++t) {
        if (is_in(boxes, t)) sum = fused(E::load(v[t * head_dim + d]), p[r * kPageTokens + t], sum);
      }
      acc[r * head_dim + d] = sum;
    }
  }
}

// Scores and weighted values over integer codes.

inline std::int32_t code_at(const CodeMatrix& m, std::uint32_t lane, std::uint32_t depth) {
  const std::uint32_t per_vector = 32 / m.bits;
  const std::size_t vectors = (m.depth + per_vector - 1) / per_vector;
  const std::uint8_t* vector = m.codes + (lane / kCodeLanes * vectors + depth / per_vector) * 64;
  const std::uint32_t within = depth % per_vector;
  const std::uint32_t byte = vector[lane % kCodeLanes * kCodeQuad + within % kCodeQuad];
  return static_cast<std::int32_t>((byte >> (within / kCodeQuad * m.bits)) & ((1u << m.bits) - 1));
}

inline std::int32_t level_at(const CodeMatrix& m, std::uint32_t channel, std::int32_t code) {
  return m.levels != nullptr ? m.levels[channel * 16 + static_cast<std::uint32_t>(code)] : code;
}

// The matrix of codes itself, and where in it the code of a channel lies.
inline CodeMatrix stored_codes(const CodeMatrix& m, bool keys) {
  CodeMatrix stored = m;
  if (m.shares == nullptr) return stored;
  (keys ? stored.depth : stored.lanes) = share_extents(m.shares).blocks * (keys ? kKeyShareBlock : kValueShareBlock);
  return stored;
}
inline std::uint32_t stored_channel(const CodeMatrix& m, bool keys, std::uint32_t channel) {
  if (m.shares == nullptr) return channel;
  const std::uint32_t block = keys ? kKeyShareBlock : kValueShareBlock;
  return shared_block(m.shares, channel / block) * block + channel % block;
}

void code_scores(const CodeKeys& keys, const float* q, std::uint32_t rows, PrefetchHint, float* out) {
  const CodeMatrix& m = keys.codes;
  const CodeMatrix stored = stored_codes(m, true);
  RoundedQuery query;
  for (std::uint32_t r = 0; r < rows; ++r) {
    round_query(keys, q + std::size_t{r} * m.depth, query);
    for (std::uint32_t t = 0; t < m.lanes; ++t) {
      if (!is_in(keys.boxes, t)) continue;
      float total = query.base;
      for (std::uint32_t s = 0; s * kQuerySegment < m.depth; ++s) {
        std::int32_t dot = 0;
        for (std::uint32_t d = s * kQuerySegment; d < m.depth && d < (s + 1) * kQuerySegment; ++d)
          dot += level_at(m, d, code_at(stored, t, stored_channel(m, true, d))) * query.codes[d];
        const float x = static_cast<float>(2 * dot + query.biases[s]) * query.half_scales[s];
        total = keys.token_scale != nullptr
                    ? fused(x, keys.token_scale[std::size_t{s} * keys.token_scale_stride + t], total)
                    : total + x;
      }
      out[r * kPageTokens + t] = total;
    }
  }
}

void code_accumulate(const CodeValues& values, const float* p, const float* correction, std::uint32_t rows,
                     PrefetchHint, float* acc) {
  const CodeMatrix& m = values.codes;
  const CodeMatrix stored = stored_codes(m, false);
  for (std::uint32_t r = 0; r < rows; ++r) {
    for (std::uint32_t group = 0; group * values.group < m.lanes; ++group) {
      RoundedWeights weights;
      round_weights(values, group, p + r * kPageTokens, weights);
      for (std::uint32_t d = group * values.group; d < m.lanes && d < (group + 1) * values.group; ++d) {
        const std::uint32_t lane = stored_channel(m, false, d);
        std::int32_t dot = 0;
        for (std::uint32_t t = 0; t < m.depth; ++t) {
          if (is_in(values.boxes, t)) dot += level_at(m, d, code_at(stored, lane, t)) * weights.codes[t];
        }
        float x = fused(static_cast<float>(2 * dot + weights.bias), weights.half_scale, weights.zero_term);
        if (values.channel_scale != nullptr) x *= values.channel_scale[d];
        float& sum = acc[std::size_t{r} * m.lanes + d];
        sum = fused(sum, correction[r], x);
      }
    }
  }
}

}  // namespace
}  // namespace cairn

// After all that it names.
#include "cairn/kernels/kernel_table-inl.h"

namespace cairn {

constinit const Kernels kScalarKernels = kernel_table<ScalarDot, ScalarLanes>("scalar");

}  // namespace cairn
