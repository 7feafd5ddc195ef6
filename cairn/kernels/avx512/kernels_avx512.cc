// SPDX-License-Identifier: Apache-2.0
#include <immintrin.h>

#include "cairn/kernels/elementwise-inl.h"
#include "cairn/kernels/isa.h"
#include "cairn/kernels/matmul-inl.h"
#include "cairn/kernels/prefetch-inl.h"
#include "cairn/kernels/rows-inl.h"

namespace cairn {
namespace {

inline __m512i broadcast4(const std::int8_t* p) {
  std::int32_t word;
  __builtin_memcpy(&word, p, 4);
  return _mm512_set1_epi32(word);
}

struct VnniDot {
  // -zero_point times the sum of a group's codes, which is what stored codes add to the true product.
  template <class Format>
  static __m512i bias(const std::int32_t* biases, std::uint32_t rows) {
    static_assert(Format::kZeroPoint == 128 || Format::kZeroPoint == 32 || Format::kZeroPoint == 8 ||
                  Format::kZeroPoint == 0);
    if constexpr (Format::kZeroPoint == 0) {
      return _mm512_setzero_si512();
    } else {
      __m512i total = _mm512_set1_epi32(biases[0]);
      if constexpr (Format::kGroupQuads == 8) total = _mm512_add_epi32(total, _mm512_set1_epi32(biases[rows]));
      if constexpr (Format::kZeroPoint == 32) total = _mm512_srai_epi32(total, 2);
      if constexpr (Format::kZeroPoint == 8) total = _mm512_srai_epi32(total, 4);
      return total;
    }
  }

  template <class Format, std::uint32_t T>
  static void step(const Chunk& chunk, const TileView& tile, std::uint32_t offset, float* acc) {
    constexpr std::uint32_t kGroups = kQuads / Format::kGroupQuads;  // per 32 columns
    const std::size_t n = tile.rows;
    const std::int8_t* a = tile.codes + offset * 4;
    const std::int32_t* biases = tile.biases + offset;
    const float* scales = tile.scales + offset;
    const float* sums = tile.sums + offset;
    const std::uint8_t* codes = chunk.codes;
    __m512 total[T];
#pragma GCC unroll 12
    for (std::uint32_t t = 0; t < T; ++t) total[t] = _mm512_loadu_ps(acc + t * kPanelRows);
    for (std::uint32_t g = 0; g < chunk.cols / 32; ++g) {
#pragma GCC unroll 2
      for (std::uint32_t part = 0; part < kGroups; ++part) {
        __m512i dots[T];
#pragma GCC unroll 12
        for (std::uint32_t t = 0; t < T; ++t) dots[t] = bias<Format>(biases + part * n + t, tile.rows);
#pragma GCC unroll 8
        for (std::uint32_t q = 0; q < Format::kGroupQuads; ++q) {
          const __m512i w = _mm512_loadu_si512(codes + (part * Format::kGroupQuads + q) * kQuadBytes);
#pragma GCC unroll 12
          for (std::uint32_t t = 0; t < T; ++t) dots[t] = _mm512_dpbusd_epi32(dots[t], w, broadcast4(a + t * 4));
          a += n * 4;
        }
        const __m512 scale = _mm512_loadu_ps(chunk.scales + (g * kGroups + part) * kPanelRows);
#pragma GCC unroll 12
        for (std::uint32_t t = 0; t < T; ++t) {
          const __m512 weighted = _mm512_mul_ps(_mm512_cvtepi32_ps(dots[t]), scale);
          total[t] = _mm512_fmadd_ps(weighted, _mm512_set1_ps(scales[t]), total[t]);
        }
        if constexpr (Format::kMinimum) {
          const __m512 minimum = _mm512_loadu_ps(chunk.minima + g * kPanelRows);
#pragma GCC unroll 12
          for (std::uint32_t t = 0; t < T; ++t) {
            total[t] = _mm512_fnmadd_ps(minimum, _mm512_set1_ps(sums[t]), total[t]);
          }
        }
      }
      codes += chunk.stride;
      biases += 2 * n;
      scales += n;
      sums += n;
    }
#pragma GCC unroll 12
    for (std::uint32_t t = 0; t < T; ++t) _mm512_storeu_ps(acc + t * kPanelRows, total[t]);
  }
};

void quantise_tile(const float* x, std::size_t x_stride, ActivationTiles out, std::uint32_t tile) {
  const std::size_t before = std::size_t{tile} * kTileRows;
  const std::uint32_t n = smaller(kTileRows, out.rows - tile * kTileRows);
  const __m512 low = _mm512_set1_ps(-127.0f), high = _mm512_set1_ps(127.0f);
  for (std::uint32_t r = 0; r < n; ++r) {
    const float* row = x + (before + r) * x_stride;
    for (std::uint32_t g = 0; g < out.cols / 32; ++g) {
      const __m512 first = _mm512_loadu_ps(row + g * 32), second = _mm512_loadu_ps(row + g * 32 + 16);
      // The operand order keeps NaN out of the maximum, as the scalar comparison does.
      const __m512 m = _mm512_max_ps(_mm512_abs_ps(first), _mm512_setzero_ps());
      const float largest = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(second), m));
      const float inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
      const float scale = largest / 127.0f;
      const auto round = [&](__m512 v) {
        v = _mm512_max_ps(_mm512_mul_ps(v, _mm512_set1_ps(inverse)), low);
        return _mm512_cvtps_epi32(_mm512_min_ps(v, high));
      };
      const __m512i a = round(first), b = round(second);
      const std::int32_t sum_a = _mm512_reduce_add_epi32(a), sum_b = _mm512_reduce_add_epi32(b);
      alignas(16) std::int8_t codes[32];
      _mm_store_si128(reinterpret_cast<__m128i*>(codes), _mm512_cvtepi32_epi8(a));
      _mm_store_si128(reinterpret_cast<__m128i*>(codes + 16), _mm512_cvtepi32_epi8(b));
      std::int8_t* to = out.codes + before * out.cols + (std::size_t{g} * 8 * n + r) * 4;
      for (std::uint32_t q = 0; q < kQuads; ++q) __builtin_memcpy(to + std::size_t{q} * n * 4, codes + q * 4, 4);
      const std::size_t at = before * (out.cols / 32) + std::size_t{g} * n + r;
      out.scales[at] = scale;
      out.sums[at] = scale * static_cast<float>(sum_a + sum_b);
      std::int32_t* biases = out.biases + before * (out.cols / 16) + std::size_t{g} * 2 * n + r;
      biases[0] = -128 * sum_a;
      biases[n] = -128 * sum_b;
    }
  }
}

// exp_lane of elementwise-inl.h, 16 at a time.
inline __m512 exp16(__m512 x) {
  const __m512 round = _mm512_set1_ps(12582912.0f);
  const __m512 lowest = _mm512_set1_ps(-87.0f);
  const __mmask16 tiny = _mm512_cmp_ps_mask(x, lowest, _CMP_LT_OQ);
  const __m512 clamped = _mm512_min_ps(_mm512_set1_ps(88.0f), _mm512_max_ps(lowest, x));
  const __m512 shifted = _mm512_fmadd_ps(clamped, _mm512_set1_ps(1.44269504088896341f), round);
  const __m512 n = _mm512_sub_ps(shifted, round);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), clamped);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
  __m512 p = _mm512_set1_ps(1.9875691500e-4f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3981999507e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1f));
  p = _mm512_add_ps(_mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r), _mm512_set1_ps(1.0f));
  const __m512i exponent = _mm512_sub_epi32(_mm512_castps_si512(shifted), _mm512_castps_si512(round));
  const __m512i scale = _mm512_slli_epi32(_mm512_add_epi32(exponent, _mm512_set1_epi32(127)), 23);
  return _mm512_maskz_mul_ps(static_cast<__mmask16>(~tiny), p, _mm512_castsi512_ps(scale));
}

void softmax_block16(float* s, const std::uint64_t* masks, std::uint32_t rows, float* max, float* sum,
                     float* correction) {
  const __m512 nothing = _mm512_set1_ps(-__builtin_inff());
  for (std::uint32_t r = 0; r < rows; ++r) {
    float* row = s + r * kPageTokens;
    __m512 v[4];
    __m512 largest = _mm512_set1_ps(max[r]);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      v[i] = _mm512_mask_loadu_ps(nothing, static_cast<__mmask16>(masks[r] >> (i * 16)), row + i * 16);
      largest = _mm512_max_ps(v[i], largest);
    }
    const float top = _mm512_reduce_max_ps(largest);
    const float base = top == -__builtin_inff() ? 0.0f : top;
    alignas(64) float lanes[kSumLanes];
    __m512 total = _mm512_setzero_ps();
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      v[i] = exp16(_mm512_sub_ps(v[i], _mm512_set1_ps(base)));
      _mm512_storeu_ps(row + i * 16, v[i]);
      total = _mm512_add_ps(total, v[i]);
    }
    _mm512_store_ps(lanes, total);
    correction[r] = exp_lane(max[r] - base);
    sum[r] = fused(sum[r], correction[r], sum_lanes(lanes));
    max[r] = top;
  }
}

inline __m512 load16(const F16*, const std::uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline __m512 load16(const BF16*, const std::uint16_t* p) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
inline __m512 load16(const F32*, const float* p) {
  return _mm512_loadu_ps(p);
}

// The first 8 of 16 lanes, the rest zero.
inline __m512 load8(const F16*, const std::uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
inline __m512 load8(const BF16*, const std::uint16_t* p) {
  const __m256i wide =
      _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), 16);
  return _mm512_castps256_ps512(_mm256_castsi256_ps(wide));
}
inline __m512 load8(const F32*, const float* p) {
  return _mm512_castps256_ps512(_mm256_loadu_ps(p));
}

template <class E, std::uint32_t R>
void scores_rows(const typename E::Type* k, std::uint32_t head_dim, const float* q, Prefetcher& next, float* out) {
  __m512 sums[R][4];
#pragma GCC unroll 4
  for (std::uint32_t r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) sums[r][v] = _mm512_setzero_ps();
  }
  for (std::uint32_t d = 0; d < head_dim; ++d) {
    next.step();
    __m512 keys[4];
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) keys[v] = load16(static_cast<const E*>(nullptr), k + d * kPageTokens + v * 16);
#pragma GCC unroll 4
    for (std::uint32_t r = 0; r < R; ++r) {
      const __m512 query = _mm512_set1_ps(q[r * head_dim + d]);
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) sums[r][v] = _mm512_fmadd_ps(keys[v], query, sums[r][v]);
    }
  }
#pragma GCC unroll 4
  for (std::uint32_t r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) _mm512_storeu_ps(out + r * kPageTokens + v * 16, sums[r][v]);
  }
}

template <class E>
void scores(const void* keys, std::uint32_t head_dim, const float* q, std::uint32_t rows, Upcoming next, float* out) {
  const auto* k = static_cast<const typename E::Type*>(keys);
  Prefetcher prefetcher(next, head_dim);
  std::uint32_t r = 0;
  for (; r + 4 <= rows; r += 4) scores_rows<E, 4>(k, head_dim, q + r * head_dim, prefetcher, out + r * kPageTokens);
  switch (rows - r) {
    case 3: return scores_rows<E, 3>(k, head_dim, q + r * head_dim, prefetcher, out + r * kPageTokens);
    case 2: return scores_rows<E, 2>(k, head_dim, q + r * head_dim, prefetcher, out + r * kPageTokens);
    case 1: return scores_rows<E, 1>(k, head_dim, q + r * head_dim, prefetcher, out + r * kPageTokens);
    default: return;
  }
}

// V vectors of 16 channels (or one of 8 when Half) for R rows.
template <class E, std::uint32_t R, std::uint32_t V, bool Half>
void accumulate_rows(const typename E::Type* values, std::uint32_t head_dim, const float* p, const float* correction,
                     std::uint32_t count, Prefetcher& next, float* acc) {
  constexpr const E* kTag = nullptr;
  const __mmask16 lanes = Half ? 0x00ff : 0xffff;
  __m512 sums[R][V];
#pragma GCC unroll 4
  for (std::uint32_t r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (std::uint32_t v = 0; v < V; ++v) {
      sums[r][v] =
          _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, acc + r * head_dim + v * 16), _mm512_set1_ps(correction[r]));
    }
  }
  for (std::uint32_t t = 0; t < count; ++t) {
    next.step();
    __m512 channels[V];
#pragma GCC unroll 4
    for (std::uint32_t v = 0; v < V; ++v) {
      channels[v] = Half ? load8(kTag, values + t * head_dim) : load16(kTag, values + t * head_dim + v * 16);
    }
#pragma GCC unroll 4
    for (std::uint32_t r = 0; r < R; ++r) {
      const __m512 weight = _mm512_set1_ps(p[r * kPageTokens + t]);
#pragma GCC unroll 4
      for (std::uint32_t v = 0; v < V; ++v) sums[r][v] = _mm512_fmadd_ps(channels[v], weight, sums[r][v]);
    }
  }
#pragma GCC unroll 4
  for (std::uint32_t r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (std::uint32_t v = 0; v < V; ++v) _mm512_mask_storeu_ps(acc + r * head_dim + v * 16, lanes, sums[r][v]);
  }
}

template <class E, std::uint32_t R>
void accumulate_channels(const typename E::Type* values, std::uint32_t head_dim, const float* p,
                         const float* correction, std::uint32_t count, Prefetcher& next, float* acc) {
  std::uint32_t d = 0;
  for (; d + 64 <= head_dim; d += 64) {
    accumulate_rows<E, R, 4, false>(values + d, head_dim, p, correction, count, next, acc + d);
  }
  for (; d + 16 <= head_dim; d += 16) {
    accumulate_rows<E, R, 1, false>(values + d, head_dim, p, correction, count, next, acc + d);
  }
  if (d < head_dim) accumulate_rows<E, R, 1, true>(values + d, head_dim, p, correction, count, next, acc + d);
}

template <class E>
void accumulate(const void* values, std::uint32_t head_dim, const float* p, const float* correction, std::uint32_t rows,
                std::uint32_t count, Upcoming next, float* acc) {
  Prefetcher prefetcher(next, count * ((head_dim + 63) / 64));
  const auto* v = static_cast<const typename E::Type*>(values);
  std::uint32_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    accumulate_channels<E, 4>(v, head_dim, p + r * kPageTokens, correction + r, count, prefetcher, acc + r * head_dim);
  }
  for (; r < rows; ++r) {
    accumulate_channels<E, 1>(v, head_dim, p + r * kPageTokens, correction + r, count, prefetcher, acc + r * head_dim);
  }
}

}  // namespace

const Kernels kAvx512Kernels = {
    .name = "avx512",
    .quantise_tile = quantise_tile,
    .matmul = matmul_panels<VnniDot>,
    .scores = {scores<F16>, scores<BF16>, scores<F32>},
    .accumulate = {accumulate<F16>, accumulate<BF16>, accumulate<F32>},
    .softmax_block = softmax_block16,
    .merge = merge_states,
    .narrow = {narrow<F16>, narrow<BF16>, narrow<F32>},
    .widen_f16 = widen_f16,
    .rms_norm = rms_norm,
    .silu_mul = silu_mul,
    .add = add,
    .rope_neighbours = rope_neighbours,
    .rope_halves = rope_halves,
};

}  // namespace cairn
