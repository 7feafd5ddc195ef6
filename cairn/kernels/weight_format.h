// SPDX-License-Identifier: Apache-2.0
// The tensor element formats of GGUF that this project reads, by the numbers the file format gives them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace cairn {

enum class WeightFormat : std::uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kIQ4_NL = 20,
  kIQ4_XS = 23,
  kBF16 = 30,
  kMXFP4 = 39,
};

// One format: elements come in blocks of `block_values` along a row, each `block_bytes` long.
struct WeightFormatInfo {
  WeightFormat format;
  const char* name;
  std::uint32_t block_values;
  std::uint32_t block_bytes;
  std::uint32_t f16s = 0;    // f16 numbers of a block that scale it, side by side
  std::uint32_t f16_at = 0;  // where the first of them lies
};

// Whether elements stand for themselves: F32, F16, BF16.
constexpr bool is_dense(WeightFormat format) {
  return format == WeightFormat::kF32 || format == WeightFormat::kF16 || format == WeightFormat::kBF16;
}

// All of them, by number.
std::span<const WeightFormatInfo> weight_formats();
// nullptr when the number names no supported format.
const WeightFormatInfo* find_weight_format(std::uint32_t number);
const WeightFormatInfo& weight_format_info(WeightFormat format);

// Scalar definition of every format: expands one row of `values` elements (a multiple of block_values) to f32.
void dequantise_row(WeightFormat format, const std::byte* row, std::size_t values, float* out);

// Whether whole blocks stand for finite numbers: what scales them does, or the numbers themselves in a dense format.
// Products hide the others: activations are rounded to integers, and what is not a number comes out as one.
bool all_finite(WeightFormat format, std::span<const std::byte> blocks);

}  // namespace cairn
