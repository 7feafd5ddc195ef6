// SPDX-License-Identifier: Apache-2.0
// Test support: a random quantised matrix with sane scales, and its panels.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "cairn/base/half.h"
#include "cairn/kernels/kernels.h"
#include "cairn/kernels/panel.h"
#include "cairn/testing/random.h"

namespace cairn::testing {

inline std::vector<WeightFormat> quantised_formats() {
  std::vector<WeightFormat> formats;
  for (const WeightFormatInfo& info : weight_formats()) {
    if (!is_dense(info.format)) formats.push_back(info.format);
  }
  return formats;
}

// Where a block has its f16 scales.
inline std::vector<std::size_t> half_offsets(WeightFormat format) {
  switch (format) {
    case WeightFormat::kQ4_1:
    case WeightFormat::kQ5_1:
    case WeightFormat::kQ4_K:
    case WeightFormat::kQ5_K: return {0, 2};
    case WeightFormat::kQ2_K: return {80, 82};
    case WeightFormat::kQ3_K: return {108};
    case WeightFormat::kQ6_K: return {208};
    case WeightFormat::kMXFP4: return {};
    default: return {0};
  }
}

// Random blocks in the file's layout; scales are replaced by finite ones around 0.01.
inline std::vector<std::byte> random_matrix(WeightFormat format, std::uint32_t rows, std::uint32_t cols,
                                            std::uint32_t seed) {
  const WeightFormatInfo& info = weight_format_info(format);
  const std::size_t blocks = std::size_t{rows} * (cols / info.block_values);
  std::vector<std::byte> bytes = random_bytes(blocks * info.block_bytes, seed);
  for (std::size_t b = 0; b < blocks; ++b) {
    std::byte* block = bytes.data() + b * info.block_bytes;
    const std::uint16_t d = f32_to_f16(0.01f + 0.001f * static_cast<float>(b % 17));
    for (const std::size_t at : half_offsets(format)) std::memcpy(block + at, &d, 2);
    if (format == WeightFormat::kMXFP4) block[0] = static_cast<std::byte>(120 + b % 3);
  }
  return bytes;
}

struct Panels {
  std::vector<std::byte> storage;
  PanelMatrix matrix;
};

inline Panels pack(WeightFormat format, const std::vector<std::byte>& rows_major, std::uint32_t rows,
                   std::uint32_t cols) {
  const std::size_t bytes = panel_bytes(format, cols);
  const std::uint32_t panels = (rows + kPanelRows - 1) / kPanelRows;
  Panels packed{std::vector<std::byte>(bytes * panels + 64), {}};
  auto start = reinterpret_cast<std::uintptr_t>(packed.storage.data());
  std::byte* data = packed.storage.data() + (64 - start % 64) % 64;
  for (std::uint32_t p = 0; p < panels; ++p) pack_panel(format, rows_major.data(), rows, cols, p, data + p * bytes);
  packed.matrix = {format, rows, cols, data};
  return packed;
}

// Floats in tiles.
inline std::vector<float> interleaved(const Kernels& set, const std::vector<float>& x, std::uint32_t rows,
                                      std::uint32_t cols) {
  std::vector<float> tiles(x.size());
  for (std::uint32_t row = 0; row < rows; row += kTileRows) {
    const std::size_t at = std::size_t{row} * cols;
    set.transpose(x.data() + at, std::min(kTileRows, rows - row), cols, tiles.data() + at);
  }
  return tiles;
}

// Activations in tiles, with the memory they live in.
struct Activations {
  std::vector<std::int8_t> codes;
  std::vector<float> scales, sums;
  std::vector<std::int32_t> biases;
  ActivationTiles tiles;

  Activations(std::uint32_t rows, std::uint32_t cols)
      : codes(std::size_t{rows} * cols),
        scales(std::size_t{rows} * cols / 32),
        sums(std::size_t{rows} * cols / 32),
        biases(std::size_t{rows} * cols / 16),
        tiles{rows, cols, codes.data(), scales.data(), biases.data(), sums.data()} {}
};

}  // namespace cairn::testing
