// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "cairn/kernels/kernels.h"
#include "cairn/testing/panels.h"

namespace cairn {
namespace {

using namespace cairn::testing;

class Dense : public ::testing::TestWithParam<WeightFormat> {
 protected:
  // Weights in the file's layout, and what they stand for.
  void make(std::uint32_t rows, std::uint32_t cols, std::uint32_t seed) {
    values_ = random_floats(std::size_t{rows} * cols, seed);
    std::vector<std::byte> bytes;
    for (float& value : values_) {
      std::uint16_t half = 0;
      if (GetParam() == WeightFormat::kF16) value = f16_to_f32(half = f32_to_f16(value));
      if (GetParam() == WeightFormat::kBF16) value = bf16_to_f32(half = f32_to_bf16(value));
      const auto* from = GetParam() == WeightFormat::kF32 ? reinterpret_cast<const std::byte*>(&value)
                                                          : reinterpret_cast<const std::byte*>(&half);
      bytes.insert(bytes.end(), from, from + weight_format_info(GetParam()).block_bytes);
    }
    panels_ = pack(GetParam(), bytes, rows, cols);
  }

  std::vector<float> product(std::string_view set, const std::vector<float>& x, std::uint32_t rows) const {
    const PanelMatrix& weights = panels_.matrix;
    std::vector<float> out(std::size_t{rows} * weights.rows, NAN);
    const std::uint32_t panels = (weights.rows + kPanelRows - 1) / kPanelRows;
    const std::vector<float> tiles = interleaved(*find_kernels(set), x, rows, weights.cols);
    find_kernels(set)->multiply_dense({weights, tiles.data(), rows, out.data(), weights.rows, 0, panels});
    return out;
  }

  std::vector<float> values_;
  Panels panels_;
};

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST_P(Dense, ScalarEqualsTheProductInDoubles) {
  make(37, 300, 1);
  const auto x = random_floats(3 * 300, 2);
  const auto out = product("scalar", x, 3);
  for (std::uint32_t r = 0; r < 3; ++r) {
    for (std::uint32_t n = 0; n < 37; ++n) {
      double exact = 0;
      for (std::uint32_t k = 0; k < 300; ++k) exact += double{values_[n * 300 + k]} * x[r * 300 + k];
      EXPECT_NEAR(out[r * 37 + n], exact, 1e-4) << r << " " << n;
    }
  }
}

// Rows in every number of tiles, panels in every number at once, columns that are cut and that are not.
TEST_P(Dense, EverySetReturnsTheBitsOfTheScalarOne) {
  for (const auto& [rows, cols] : {std::pair(1u, 33u), {16u, 256u}, {50u, 515u}, {169u, 70u}}) {
    make(rows, cols, 3);
    for (const std::uint32_t batch : {1u, 2u, 3u, 4u, 5u, 11u, 12u, 13u, 31u}) {
      const auto x = random_floats(batch * cols, batch);
      const auto expected = product("scalar", x, batch);
      for (const Kernels* set : available_kernels()) {
        EXPECT_TRUE(same_bits(product(set->name, x, batch), expected)) << set->name << " " << rows << " " << batch;
      }
    }
  }
}

// A row alone gives the same bits as inside any batch, across tile and block borders.
TEST_P(Dense, RowsDoNotDependOnTheirCompany) {
  const std::uint32_t cols = 300, batch = 290;
  make(70, cols, 4);
  const auto x = random_floats(batch * cols, 5);
  for (const Kernels* set : available_kernels()) {
    if (set->name == "scalar") continue;  // slow, and equal by the test above
    const auto together = product(set->name, x, batch);
    for (const std::uint32_t r : {0u, 11u, 12u, 131u, 263u, 264u, 289u}) {
      const auto alone = product(set->name, std::vector(x.begin() + r * cols, x.begin() + (r + 1) * cols), 1);
      EXPECT_EQ(std::memcmp(alone.data(), together.data() + r * 70, 70 * sizeof(float)), 0) << set->name << " " << r;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, Dense, ::testing::Values(WeightFormat::kF32, WeightFormat::kF16, WeightFormat::kBF16),
                         [](const auto& format) { return weight_format_info(format.param).name; });

}  // namespace
}  // namespace cairn
