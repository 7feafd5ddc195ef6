// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "cairn/base/half.h"
#include "cairn/kernels/weight_format.h"
#include "cairn/testing/panels.h"

namespace cairn {
namespace {

struct Golden {
  WeightFormat format;
  std::string block_hex;
  std::vector<std::uint32_t> value_bits;
};

const std::vector<Golden>& goldens() {
  static const std::vector<Golden> all = {
#include "cairn/kernels/ref/dequantise_golden.inc"
  };
  return all;
}

std::vector<std::byte> from_hex(const std::string& hex) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

TEST(Dequantise, EqualsThePeersBitForBit) {
  const auto in_blocks = [](const WeightFormatInfo& info) { return info.block_values > 1; };
  ASSERT_EQ(static_cast<std::ptrdiff_t>(goldens().size()), std::ranges::count_if(weight_formats(), in_blocks));
  for (const Golden& golden : goldens()) {
    const WeightFormatInfo& info = weight_format_info(golden.format);
    SCOPED_TRACE(info.name);
    const std::vector<std::byte> block = from_hex(golden.block_hex);
    ASSERT_EQ(block.size(), info.block_bytes);
    ASSERT_EQ(golden.value_bits.size(), info.block_values);
    // Twice the same block: the second must be found at the right stride.
    std::vector<std::byte> row = block;
    row.insert(row.end(), block.begin(), block.end());
    std::vector<float> values(2 * info.block_values);
    dequantise_row(golden.format, row.data(), values.size(), values.data());
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(std::bit_cast<std::uint32_t>(values[i]), golden.value_bits[i % info.block_values]) << "value " << i;
    }
  }
}

TEST(Dequantise, UnpackedFormatsKeepTheirBits) {
  const std::vector<std::uint16_t> halves = {0x0000, 0x8000, 0x3c00, 0xbc01, 0x0001, 0x7bff, 0x4248};
  const auto* bytes = reinterpret_cast<const std::byte*>(halves.data());
  std::vector<float> f16(halves.size());
  std::vector<float> bf16(halves.size());
  dequantise_row(WeightFormat::kF16, bytes, halves.size(), f16.data());
  dequantise_row(WeightFormat::kBF16, bytes, halves.size(), bf16.data());
  for (std::size_t i = 0; i < halves.size(); ++i) {
    EXPECT_EQ(std::bit_cast<std::uint32_t>(f16[i]), std::bit_cast<std::uint32_t>(f16_to_f32(halves[i])));
    EXPECT_EQ(std::bit_cast<std::uint32_t>(bf16[i]), std::bit_cast<std::uint32_t>(bf16_to_f32(halves[i])));
  }
  const std::vector<float> floats = {1.5f, -0.0f, 3e38f};
  std::vector<float> copy(floats.size());
  dequantise_row(WeightFormat::kF32, reinterpret_cast<const std::byte*>(floats.data()), floats.size(), copy.data());
  EXPECT_EQ(std::memcmp(copy.data(), floats.data(), floats.size() * sizeof(float)), 0);
}

// The last of some blocks, with every byte in the place of the upper one of each scale, beside what it stands for.
TEST(AllFinite, TellsWhatADamagedScaleMakesOfABlock) {
  for (const WeightFormatInfo& info : weight_formats()) {
    SCOPED_TRACE(info.name);
    const std::size_t last = 7 * info.block_bytes;
    std::vector<std::byte> good = testing::random_matrix(info.format, 1, 8 * info.block_values, 1);
    std::vector<std::size_t> scales;
    for (const std::size_t at : testing::half_offsets(info.format)) scales.push_back(last + at + 1);
    if (is_dense(info.format)) {
      std::ranges::fill(good, std::byte{0x3c});
      scales = {last + info.block_bytes - 1};
    } else if (info.format == WeightFormat::kMXFP4) {
      std::fill(good.end() - 16, good.end(), std::byte{0x77});  // the greatest level
      scales = {last};
    }
    int damaged = 0;
    for (const std::size_t at : scales) {
      for (int value = 0; value < 256; ++value) {
        std::vector<std::byte> bytes = good;
        bytes[at] = static_cast<std::byte>(value);
        std::vector<float> values(8 * info.block_values);
        dequantise_row(info.format, bytes.data(), values.size(), values.data());
        const bool finite = std::ranges::all_of(values, [](float v) { return std::isfinite(v); });
        ASSERT_EQ(all_finite(info.format, bytes), finite) << at - last << " is " << value;
        damaged += finite ? 0 : 1;
      }
    }
    EXPECT_GE(damaged, info.format == WeightFormat::kF32 || info.format == WeightFormat::kBF16 ? 0 : 3);
  }
  for (const float bad : {INFINITY, -INFINITY, NAN}) {
    const float numbers[] = {1.0f, bad, 1.0f};
    EXPECT_FALSE(all_finite(WeightFormat::kF32, std::as_bytes(std::span(numbers))));
    const std::uint16_t bf16[] = {0, f32_to_bf16(bad)};
    EXPECT_FALSE(all_finite(WeightFormat::kBF16, std::as_bytes(std::span(bf16))));
  }
}

TEST(WeightFormat, NumbersThatNameNoFormatAreUnknown) {
  for (const std::uint32_t number : {4u, 5u, 9u, 15u, 16u, 31u, 0xffffffffu}) {
    EXPECT_EQ(find_weight_format(number), nullptr) << number;
  }
  ASSERT_NE(find_weight_format(14), nullptr);
  EXPECT_STREQ(find_weight_format(14)->name, "Q6_K");
}

}  // namespace
}  // namespace cairn
