// SPDX-License-Identifier: Apache-2.0
// The quantised product, shared by every instruction set; `Dot` supplies the innermost step. Chunks of a panel are made
// ready for it first: bytes of codes, f32 scales and minima, in plain loops of fixed length that every instruction set
// vectorises for itself. The loop nest decides only what is near in the cache: each output's sums run over the groups
// of columns in ascending order, whatever the number of rows, so a row's result does not depend on its company.
// Included once per set, hence the unnamed namespace.
#pragma once

#if defined(__F16C__)
#include <immintrin.h>
#endif

#include <cstdint>

#include "cairn/base/half.h"
#include "cairn/kernels/panel.h"

namespace cairn {
namespace {

// Up to kChunkCols columns of one panel. Group g has its codes at codes + g' * stride, g' counting 32 columns.
struct Chunk {
  const std::uint8_t* codes;  // per 32 columns: [8, 16, 4]
  std::size_t stride;         // bytes from one 32 columns to the next
  const float* scales;        // [groups, 16]
  const float* minima;        // [groups, 16], or unused
  std::uint32_t cols;         // a multiple of 32
};

// Room for what had to be unpacked.
struct ChunkBuffer {
  alignas(64) std::uint8_t codes[kChunkCols * kPanelRows];
  alignas(64) float scales[kChunkCols / 16 * kPanelRows];
  alignas(64) float minima[kChunkCols / 32 * kPanelRows];
};

inline void unpack_halves(const std::uint8_t* in, float* out) {
  std::uint16_t halves[kPanelRows];
  __builtin_memcpy(halves, in, sizeof halves);
#if defined(__F16C__) && defined(__AVX512F__)
  _mm512_storeu_ps(out, _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(halves))));
#elif defined(__F16C__)
  _mm256_storeu_ps(out, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(halves))));
  _mm256_storeu_ps(out + 8, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(halves + 8))));
#else
  for (std::uint32_t lane = 0; lane < kPanelRows; ++lane) out[lane] = f16_to_f32(halves[lane]);
#endif
}

// One vector of 64 code bytes as words: no instruction set shifts bytes, and the masks drop what crosses over.
using Words [[gnu::vector_size(kQuadBytes)]] = std::uint32_t;

inline void unpack_nibbles(const std::uint8_t* in, std::uint8_t* out) {
  for (std::uint32_t quad = 0; quad < kQuads / 2; ++quad) {
    Words both;
    __builtin_memcpy(&both, in + quad * kQuadBytes, sizeof both);
    const Words low = both & 0x0f0f0f0fu;
    const Words high = (both >> 4) & 0x0f0f0f0fu;
    __builtin_memcpy(out + quad * kQuadBytes, &low, sizeof low);
    __builtin_memcpy(out + (quad + kQuads / 2) * kQuadBytes, &high, sizeof high);
  }
}

// Adds the bits above the nibble: (bits >> shift) & mask of every byte, as bit 4 and up of the code.
inline void add_bits(const std::uint8_t* bits, std::uint32_t shift, std::uint32_t mask, std::uint8_t* codes) {
  Words upper, sum;
  __builtin_memcpy(&upper, bits, sizeof upper);
  __builtin_memcpy(&sum, codes, sizeof sum);
  sum |= ((upper >> shift) & mask) << 4;
  __builtin_memcpy(codes, &sum, sizeof sum);
}

inline void add_fifth_bits(const std::uint8_t* in, std::uint8_t* out) {
  for (std::uint32_t quad = 0; quad < kQuads; ++quad) add_bits(in, quad, 0x01010101u, out + quad * kQuadBytes);
}

inline void add_upper_bits(const std::uint8_t* in, std::uint8_t* out) {
  for (std::uint32_t quad = 0; quad < kQuads; ++quad) {
    add_bits(in + quad / 4 * kQuadBytes, quad % 4 * 2, 0x03030303u, out + quad * kQuadBytes);
  }
}

// scales[g, lane] = base[lane] * factor[g, lane]: exact, 11 bits by at most 8.
template <class Factor>
inline void unpack_scales(const float* base, const std::uint8_t* factors, std::uint32_t groups, float* out) {
  for (std::uint32_t g = 0; g < groups; ++g) {
    for (std::uint32_t lane = 0; lane < kPanelRows; ++lane) {
      out[g * kPanelRows + lane] = base[lane] * static_cast<float>(static_cast<Factor>(factors[g * kPanelRows + lane]));
    }
  }
}

struct Q8_0 {
  static constexpr WeightFormat kFormat = WeightFormat::kQ8_0;
  static constexpr std::uint32_t kZeroPoint = 128, kGroupQuads = 8;
  static constexpr bool kMinimum = false;

  // Codes are used where they lie: only the scales are converted.
  static Chunk unpack(const std::uint8_t* panel, std::uint32_t col, std::uint32_t cols, ChunkBuffer& buffer) {
    constexpr std::size_t kUnitBytes = kPanelRows * 34;
    const std::uint8_t* unit = panel + col / 32 * kUnitBytes;
    for (std::uint32_t g = 0; g < cols / 32; ++g) unpack_halves(unit + g * kUnitBytes, buffer.scales + g * kPanelRows);
    return {unit + kPanelRows * 2, kUnitBytes, buffer.scales, nullptr, cols};
  }
};

// Q4_0, Q4_1, Q5_0 and Q5_1: nibbles, and some of them fifth bits or a minimum.
template <WeightFormat kThis, bool kFifth, bool kHasMinimum>
struct Q45 {
  static constexpr WeightFormat kFormat = kThis;
  static constexpr std::uint32_t kZeroPoint = kHasMinimum ? 0 : kFifth ? 16 : 8, kGroupQuads = 8;
  static constexpr bool kMinimum = kHasMinimum;

  static Chunk unpack(const std::uint8_t* panel, std::uint32_t col, std::uint32_t cols, ChunkBuffer& buffer) {
    constexpr std::size_t kHalves = kPanelRows * (kHasMinimum ? 4 : 2), kNibbles = kQuads / 2 * kQuadBytes;
    constexpr std::size_t kUnitBytes = kHalves + kNibbles + (kFifth ? kQuadBytes : 0);
    const std::uint8_t* unit = panel + col / 32 * kUnitBytes;
    for (std::uint32_t g = 0; g < cols / 32; ++g, unit += kUnitBytes) {
      std::uint8_t* codes = buffer.codes + g * kQuads * kQuadBytes;
      unpack_halves(unit, buffer.scales + g * kPanelRows);
      if constexpr (kHasMinimum) unpack_halves(unit + kPanelRows * 2, buffer.minima + g * kPanelRows);
      unpack_nibbles(unit + kHalves, codes);
      if constexpr (kFifth) add_fifth_bits(unit + kHalves + kNibbles, codes);
    }
    return {buffer.codes, kQuads * kQuadBytes, buffer.scales, buffer.minima, cols};
  }
};
using Q4_0 = Q45<WeightFormat::kQ4_0, false, false>;
using Q4_1 = Q45<WeightFormat::kQ4_1, false, true>;
using Q5_0 = Q45<WeightFormat::kQ5_0, true, false>;
using Q5_1 = Q45<WeightFormat::kQ5_1, true, true>;

// Q4_K and Q5_K share everything but the fifth bits.
template <bool Fifth>
struct Q45_K {
  static constexpr WeightFormat kFormat = Fifth ? WeightFormat::kQ5_K : WeightFormat::kQ4_K;
  static constexpr std::uint32_t kZeroPoint = 0, kGroupQuads = 8;
  static constexpr bool kMinimum = true;

  static Chunk unpack(const std::uint8_t* panel, std::uint32_t col, std::uint32_t cols, ChunkBuffer& buffer) {
    constexpr std::size_t kUnitBytes = kPanelRows * (Fifth ? 180 : 148);
    const std::uint8_t* unit = panel + col / kChunkCols * kUnitBytes;
    alignas(64) float base[kPanelRows];
    unpack_halves(unit, base);
    unpack_scales<std::uint8_t>(base, unit + kPanelRows * 4, 8, buffer.scales);
    unpack_halves(unit + kPanelRows * 2, base);
    unpack_scales<std::uint8_t>(base, unit + kPanelRows * 12, 8, buffer.minima);
    const std::uint8_t* nibbles = unit + kPanelRows * 20;
    const std::uint8_t* fifth = nibbles + 8 * 4 * kQuadBytes;
    for (std::uint32_t g = 0; g < 8; ++g) {
      std::uint8_t* codes = buffer.codes + g * kQuads * kQuadBytes;
      unpack_nibbles(nibbles + g * 4 * kQuadBytes, codes);
      if constexpr (Fifth) add_fifth_bits(fifth + g * kQuadBytes, codes);
    }
    return {buffer.codes, kQuads * kQuadBytes, buffer.scales, buffer.minima, cols};
  }
};
using Q4_K = Q45_K<false>;
using Q5_K = Q45_K<true>;

struct Q6_K {
  static constexpr WeightFormat kFormat = WeightFormat::kQ6_K;
  static constexpr std::uint32_t kZeroPoint = 32, kGroupQuads = 4;
  static constexpr bool kMinimum = false;

  static Chunk unpack(const std::uint8_t* panel, std::uint32_t col, std::uint32_t cols, ChunkBuffer& buffer) {
    constexpr std::size_t kUnitBytes = kPanelRows * 210;
    const std::uint8_t* unit = panel + col / kChunkCols * kUnitBytes;
    alignas(64) float base[kPanelRows];
    unpack_halves(unit, base);
    unpack_scales<std::int8_t>(base, unit + kPanelRows * 2, 16, buffer.scales);
    const std::uint8_t* nibbles = unit + kPanelRows * 18;
    const std::uint8_t* upper = nibbles + 8 * 4 * kQuadBytes;
    for (std::uint32_t g = 0; g < 8; ++g) {
      std::uint8_t* codes = buffer.codes + g * kQuads * kQuadBytes;
      unpack_nibbles(nibbles + g * 4 * kQuadBytes, codes);
      add_upper_bits(upper + g * 2 * kQuadBytes, codes);
    }
    return {buffer.codes, kQuads * kQuadBytes, buffer.scales, nullptr, cols};
  }
};

inline std::uint32_t smaller(std::uint32_t a, std::uint32_t b) {
  return a < b ? a : b;
}

// Rows (in whole tiles) and panels whose running sums are kept at once: 4 * 240 * 64 bytes, inside the second-level
// cache.
constexpr std::uint32_t kBlockRows = 20 * kTileRows;
constexpr std::uint32_t kBlockPanels = 4;

// One tile's activations from a given column on.
struct TileView {
  const std::int8_t* codes;
  const float* scales;
  const std::int32_t* biases;
  const float* sums;
  std::uint32_t rows;  // n: interleave of the arrays
};

inline TileView tile_view(const ActivationTiles& a, std::uint32_t tile, std::uint32_t col) {
  const std::size_t before = std::size_t{tile} * kTileRows;
  const std::uint32_t n = smaller(kTileRows, a.rows - tile * kTileRows);
  return {a.codes + before * a.cols + std::size_t{col} * n,
          a.scales + before * (a.cols / 32) + std::size_t{col / 32} * n,
          a.biases + before * (a.cols / 16) + std::size_t{col / 16} * n,
          a.sums + before * (a.cols / 32) + std::size_t{col / 32} * n, n};
}

// Dot::step<Format, T>(chunk, tile, offset, acc) adds the chunk's products for rows [offset, offset + T) of a tile to
// acc [T, 16].
template <class Dot, class Format>
inline void dot_tile(const Chunk& chunk, const TileView& tile, float* acc) {
  if (tile.rows == kTileRows) return Dot::template step<Format, kTileRows>(chunk, tile, 0, acc);
  std::uint32_t r = 0;
  for (; r + 4 <= tile.rows; r += 4) Dot::template step<Format, 4>(chunk, tile, r, acc + r * kPanelRows);
  for (; r + 2 <= tile.rows; r += 2) Dot::template step<Format, 2>(chunk, tile, r, acc + r * kPanelRows);
  for (; r < tile.rows; ++r) Dot::template step<Format, 1>(chunk, tile, r, acc + r * kPanelRows);
}

template <class Dot, class Format>
void matmul_block(const MatmulArgs& args, std::uint32_t first_row, std::uint32_t first_panel, std::uint32_t panels) {
  const PanelMatrix& w = args.weights;
  const std::size_t stride = panel_bytes(*find_panel_format(Format::kFormat), w.cols);
  const std::uint32_t rows = smaller(kBlockRows, args.activations.rows - first_row);
  const std::uint32_t first_tile = first_row / kTileRows;
  const std::uint32_t tiles = (rows + kTileRows - 1) / kTileRows;
  alignas(64) float acc[kBlockPanels * kBlockRows * kPanelRows];
  __builtin_memset(acc, 0, std::size_t{panels} * rows * kPanelRows * sizeof(float));
  ChunkBuffer buffer;
  const auto visit = [&](std::uint32_t p, std::uint32_t col) {
    const auto* panel = reinterpret_cast<const std::uint8_t*>(w.data) + (first_panel + p) * stride;
    const Chunk chunk = Format::unpack(panel, col, smaller(kChunkCols, w.cols - col), buffer);
    for (std::uint32_t tile = 0; tile < tiles; ++tile) {
      dot_tile<Dot, Format>(chunk, tile_view(args.activations, first_tile + tile, col),
                            acc + (std::size_t{p} * rows + tile * kTileRows) * kPanelRows);
    }
  };
  if (tiles == 1) {  // memory-bound: read each panel as one stream
    for (std::uint32_t p = 0; p < panels; ++p) {
      for (std::uint32_t col = 0; col < w.cols; col += kChunkCols) visit(p, col);
    }
  } else {  // compute-bound: reuse the activations of a chunk for all panels
    for (std::uint32_t col = 0; col < w.cols; col += kChunkCols) {
      for (std::uint32_t p = 0; p < panels; ++p) visit(p, col);
    }
  }
  for (std::uint32_t p = 0; p < panels; ++p) {
    const std::uint32_t out_col = (first_panel + p) * kPanelRows;
    const std::size_t bytes = smaller(kPanelRows, w.rows - out_col) * sizeof(float);
    for (std::uint32_t r = 0; r < rows; ++r) {
      __builtin_memcpy(args.out + (first_row + r) * args.out_stride + out_col,
                       acc + (std::size_t{p} * rows + r) * kPanelRows, bytes);
    }
  }
}

template <class Dot, class Format>
void matmul_format(const MatmulArgs& args) {
  for (std::uint32_t row = 0; row < args.activations.rows; row += kBlockRows) {
    for (std::uint32_t panel = args.first_panel; panel < args.last_panel; panel += kBlockPanels) {
      matmul_block<Dot, Format>(args, row, panel, smaller(kBlockPanels, args.last_panel - panel));
    }
  }
}

template <class Dot>
void matmul_panels(const MatmulArgs& args) {
  switch (args.weights.format) {
    case WeightFormat::kQ8_0: return matmul_format<Dot, Q8_0>(args);
    case WeightFormat::kQ4_0: return matmul_format<Dot, Q4_0>(args);
    case WeightFormat::kQ4_1: return matmul_format<Dot, Q4_1>(args);
    case WeightFormat::kQ5_0: return matmul_format<Dot, Q5_0>(args);
    case WeightFormat::kQ5_1: return matmul_format<Dot, Q5_1>(args);
    case WeightFormat::kQ4_K: return matmul_format<Dot, Q4_K>(args);
    case WeightFormat::kQ5_K: return matmul_format<Dot, Q5_K>(args);
    case WeightFormat::kQ6_K: return matmul_format<Dot, Q6_K>(args);
    case WeightFormat::kF32:
    case WeightFormat::kF16:
    case WeightFormat::kBF16: return;  // not in panels; dense products are the engine's
  }
}

}  // namespace
}  // namespace cairn
