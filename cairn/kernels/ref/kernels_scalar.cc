// SPDX-License-Identifier: Apache-2.0
// The scalar definition of every kernel. Speed does not matter here; the order of operations does.

#include "cairn/kernels/code_rows-inl.h"
#include "cairn/kernels/elementwise-inl.h"
#include "cairn/kernels/encode-inl.h"
#include "cairn/kernels/kernels.h"
#include "cairn/kernels/matmul-inl.h"
#include "cairn/kernels/plain_loops-inl.h"

namespace cairn {
namespace {

struct ScalarDot {
  template <class Format, std::uint32_t T>
  static void step(const Chunk& chunk, const TileView& tile, std::uint32_t offset, float* acc) {
    constexpr std::uint32_t kGroupCols = Format::kGroupQuads * 4;
    for (std::uint32_t t = 0; t < T; ++t) {
      const std::uint32_t row = offset + t;
      for (std::uint32_t lane = 0; lane < kPanelRows; ++lane) {
        float& sum = acc[t * kPanelRows + lane];
        for (std::uint32_t g = 0; g < chunk.cols / kGroupCols; ++g) {
          std::int32_t dot = 0;
          for (std::uint32_t k = 0; k < kGroupCols; ++k) {
            const std::uint32_t col = g * kGroupCols + k;
            const std::uint8_t code =
                chunk.codes[col / 32 * chunk.stride + col % 32 / 4 * kQuadBytes + lane * 4 + col % 4];
            const std::int8_t activation = tile.codes[(std::size_t{col / 4} * tile.rows + row) * 4 + col % 4];
            dot += (static_cast<std::int32_t>(code) - static_cast<std::int32_t>(Format::kZeroPoint)) * activation;
          }
          const std::size_t scale_at = std::size_t{g * kGroupCols / 32} * tile.rows + row;
          const float weighted = static_cast<float>(dot) * chunk.scales[g * kPanelRows + lane];
          sum = fused(weighted, tile.scales[scale_at], sum);
          if constexpr (Format::kMinimum) {
            sum = fused(-chunk.minima[g * kPanelRows + lane], tile.sums[scale_at], sum);
          }
        }
      }
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

template <class E>
void scores(const void* keys, std::uint32_t head_dim, const float* q, std::uint32_t rows, PrefetchHint, float* out) {
  const auto* k = static_cast<const typename E::Type*>(keys);
  for (std::uint32_t r = 0; r < rows; ++r) {
    for (std::uint32_t t = 0; t < kPageTokens; ++t) {
      float sum = 0.0f;
      for (std::uint32_t d = 0; d < head_dim; ++d)
        sum = fused(E::load(k[d * kPageTokens + t]), q[r * head_dim + d], sum);
      out[r * kPageTokens + t] = sum;
    }
  }
}

template <class E>
void accumulate(const void* values, std::uint32_t head_dim, const float* p, const float* correction, std::uint32_t rows,
                std::uint32_t count, PrefetchHint, float* acc) {
  const auto* v = static_cast<const typename E::Type*>(values);
  for (std::uint32_t r = 0; r < rows; ++r) {
    for (std::uint32_t d = 0; d < head_dim; ++d) {
      float sum = acc[r * head_dim + d] * correction[r];
      for (std::uint32_t t = 0; t < count; ++t) sum = fused(E::load(v[t * head_dim + d]), p[r * kPageTokens + t], sum);
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

void code_scores(const CodeKeys& keys, const float* q, std::uint32_t rows, PrefetchHint, float* out) {
  const CodeMatrix& m = keys.codes;
  RoundedQuery query;
  for (std::uint32_t r = 0; r < rows; ++r) {
    round_query(keys, q + std::size_t{r} * m.depth, query);
    for (std::uint32_t t = 0; t < m.lanes; ++t) {
      float total = query.base;
      for (std::uint32_t s = 0; s * kQuerySegment < m.depth; ++s) {
        std::int32_t dot = 0;
        for (std::uint32_t d = s * kQuerySegment; d < m.depth && d < (s + 1) * kQuerySegment; ++d)
          dot += level_at(m, d, code_at(m, t, d)) * query.codes[d];
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
  for (std::uint32_t r = 0; r < rows; ++r) {
    for (std::uint32_t group = 0; group * values.group < m.lanes; ++group) {
      RoundedWeights weights;
      round_weights(values, group, p + r * kPageTokens, weights);
      for (std::uint32_t d = group * values.group; d < m.lanes && d < (group + 1) * values.group; ++d) {
        std::int32_t dot = 0;
        for (std::uint32_t t = 0; t < m.depth; ++t) dot += level_at(m, d, code_at(m, d, t)) * weights.codes[t];
        float x = fused(static_cast<float>(2 * dot + weights.bias), weights.half_scale, weights.zero_term);
        if (values.channel_scale != nullptr) x *= values.channel_scale[d];
        float& sum = acc[std::size_t{r} * m.lanes + d];
        sum = fused(sum, correction[r], x);
      }
    }
  }
}

}  // namespace

const Kernels kScalarKernels = {
    .name = "scalar",
    .quantise_tile = quantise_tile,
    .matmul = matmul_panels<ScalarDot>,
    .scores = {scores<F16>, scores<BF16>, scores<F32>},
    .accumulate = {accumulate<F16>, accumulate<BF16>, accumulate<F32>},
    .softmax_block = softmax_block,
    .merge = merge_states,
    .code_scores = code_scores,
    .code_accumulate = code_accumulate,
    .column_range = column_range,
    .quantise_columns = quantise_columns,
    .column_error = column_error,
    .quantise_levels = quantise_levels,
    .level_error = level_error,
    .nearest_points = nearest_points,
    .transpose = transpose,
    .pack_codes = pack_codes,
    .hadamard = hadamard,
    .narrow = {narrow<F16>, narrow<BF16>, narrow<F32>},
    .widen_f16 = widen_f16,
    .rms_norm = rms_norm,
    .silu_mul = silu_mul,
    .gelu_mul = gelu_mul,
    .soft_cap = soft_cap,
    .softmax = softmax,
    .add = add,
    .rope_neighbours = rope_neighbours,
    .rope_halves = rope_halves,
};

}  // namespace cairn
