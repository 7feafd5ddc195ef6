// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "cairn/kernels/kernels.h"
#include "cairn/testing/panels.h"

namespace cairn {
namespace {

using namespace cairn::testing;

std::vector<float> product(const Kernels& set, const PanelMatrix& weights, const std::vector<float>& x,
                           std::uint32_t rows) {
  Activations a(rows, weights.cols);
  for (std::uint32_t tile = 0; tile * kTileRows < rows; ++tile)
    set.quantise_tile(x.data(), weights.cols, a.tiles, tile);
  std::vector<float> out(std::size_t{rows} * weights.rows);
  set.matmul({weights, a.tiles, out.data(), weights.rows, 0, (weights.rows + kPanelRows - 1) / kPanelRows});
  return out;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

class Matmul : public ::testing::TestWithParam<WeightFormat> {};

// The scalar kernel against the format's definition: exact weights times the rounded activations.
TEST_P(Matmul, ScalarEqualsDequantisedProduct) {
  const std::uint32_t rows = 37, cols = 768, batch = 3;
  const auto matrix = random_matrix(GetParam(), rows, cols, 1);
  const Panels panels = pack(GetParam(), matrix, rows, cols);
  const auto x = random_floats(batch * cols, 2);
  const auto out = product(*find_kernels("scalar"), panels.matrix, x, batch);

  const WeightFormatInfo& info = weight_format_info(GetParam());
  std::vector<float> row(cols);
  for (std::uint32_t n = 0; n < rows; ++n) {
    dequantise_row(GetParam(), matrix.data() + std::size_t{n} * (cols / info.block_values) * info.block_bytes, cols,
                   row.data());
    for (std::uint32_t b = 0; b < batch; ++b) {
      double exact = 0, magnitude = 0;
      for (std::uint32_t g = 0; g < cols / 32; ++g) {
        float largest = 0;
        for (int k = 0; k < 32; ++k) largest = std::max(largest, std::fabs(x[b * cols + g * 32 + k]));
        for (int k = 0; k < 32; ++k) {
          const double code = std::nearbyint(x[b * cols + g * 32 + k] * (127.0f / largest));
          exact += row[g * 32 + k] * code * (largest / 127.0f);
          magnitude += std::fabs(row[g * 32 + k] * code * (largest / 127.0f));
        }
      }
      EXPECT_NEAR(out[b * rows + n], exact, magnitude * 4e-6) << "row " << n << " batch " << b;
    }
  }
}

TEST_P(Matmul, EverySetReturnsTheBitsOfTheScalarOne) {
  for (const std::uint32_t cols : {256u, 2816u}) {
    const std::uint32_t rows = 72;
    const Panels panels = pack(GetParam(), random_matrix(GetParam(), rows, cols, 3), rows, cols);
    for (const std::uint32_t batch : {1u, 2u, 5u, 12u, 13u, 31u}) {
      const auto x = random_floats(batch * cols, batch);
      const auto expected = product(*find_kernels("scalar"), panels.matrix, x, batch);
      for (const Kernels* set : available_kernels()) {
        EXPECT_TRUE(same_bits(product(*set, panels.matrix, x, batch), expected)) << set->name << " batch " << batch;
      }
    }
  }
}

// A row alone gives the same bits as inside any batch, across tile and block borders.
TEST_P(Matmul, RowsDoNotDependOnTheirCompany) {
  const std::uint32_t rows = 80, cols = 512, batch = 290;
  const Panels panels = pack(GetParam(), random_matrix(GetParam(), rows, cols, 4), rows, cols);
  const auto x = random_floats(batch * cols, 5);
  for (const Kernels* set : available_kernels()) {
    if (set->name == "scalar") continue;  // slow, and equal by the test above
    const auto together = product(*set, panels.matrix, x, batch);
    for (std::uint32_t b : {0u, 1u, 11u, 12u, 263u, 264u, 289u}) {
      const std::vector<float> one(x.begin() + b * cols, x.begin() + (b + 1) * cols);
      const std::vector<float> part(together.begin() + b * rows, together.begin() + (b + 1) * rows);
      EXPECT_TRUE(same_bits(product(*set, panels.matrix, one, 1), part)) << set->name << " row " << b;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, Matmul, ::testing::ValuesIn(quantised_formats()),
                         [](const auto& format) { return std::string(weight_format_info(format.param).name); });

// Rows of formats in blocks of 32 may be as short as 32 columns.
TEST(MatmulShapes, ShortRows) {
  for (const WeightFormat format : quantised_formats()) {
    if (weight_format_info(format).block_values > 32) continue;
    for (const std::uint32_t cols : {32u, 64u, 288u}) {
      const Panels panels = pack(format, random_matrix(format, 20, cols, 6), 20, cols);
      const auto x = random_floats(7 * cols, 7);
      const auto expected = product(*find_kernels("scalar"), panels.matrix, x, 7);
      for (const Kernels* set : available_kernels()) {
        EXPECT_TRUE(same_bits(product(*set, panels.matrix, x, 7), expected)) << set->name << " cols " << cols;
      }
    }
  }
}

TEST(Quantise, EverySetAgreesOnHostileValues) {
  const float inf = INFINITY, nan = NAN;
  std::vector<float> x = random_floats(5 * 96, 8);
  x[0] = nan;
  x[40] = inf;
  x[70] = -inf;
  x[100] = 1e38f;
  x[130] = 1e-42f;
  std::fill(x.begin() + 192, x.begin() + 224, 0.0f);
  std::fill(x.begin() + 224, x.begin() + 256, nan);
  Activations expected(5, 96);
  find_kernels("scalar")->quantise_tile(x.data(), 96, expected.tiles, 0);
  for (const Kernels* set : available_kernels()) {
    Activations got(5, 96);
    set->quantise_tile(x.data(), 96, got.tiles, 0);
    EXPECT_EQ(got.codes, expected.codes) << set->name;
    EXPECT_EQ(got.biases, expected.biases) << set->name;
    EXPECT_EQ(std::memcmp(got.scales.data(), expected.scales.data(), got.scales.size() * 4), 0) << set->name;
    EXPECT_EQ(std::memcmp(got.sums.data(), expected.sums.data(), got.sums.size() * 4), 0) << set->name;
  }
}

}  // namespace
}  // namespace cairn
