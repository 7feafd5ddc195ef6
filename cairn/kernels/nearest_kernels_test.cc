// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "cairn/kernels/kernels.h"
#include "cairn/testing/random.h"

namespace cairn {
namespace {

using testing::random_floats;

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::vector<float> ascending_rows(std::uint32_t rows, std::uint32_t length, std::uint32_t seed) {
  auto out = random_floats(std::size_t{rows} * length, seed);
  for (auto row = out.begin(); row != out.end(); row += length) std::sort(row, row + length);
  return out;
}

TEST(LevelError, IsTheSquaredDistanceInEverySet) {
  for (const std::uint32_t rows : {1u, 8u, 80u}) {
    for (const std::uint32_t cols : {1u, 24u, 64u, 130u}) {
      auto x = random_floats(std::size_t{rows} * cols, rows + cols);
      const auto bounds = ascending_rows(rows, 15, 1), levels = ascending_rows(rows, 16, 2);
      auto inverse = random_floats(cols, 4), scale = random_floats(cols, 5);
      for (float& value : inverse) value = std::fabs(value);
      std::vector<float> expected(cols);
      find_kernels("scalar")->level_error(x.data(), rows, cols, bounds.data(), levels.data(), inverse.data(),
                                          scale.data(), expected.data());
      for (std::uint32_t c = 0; c < cols; ++c) {
        double error = 0;
        for (std::uint32_t r = 0; r < rows; ++r) {
          const float unit = x[r * cols + c] * inverse[c];
          const auto begin = bounds.begin() + r * 15;
          const double level =
              levels[r * 16 + static_cast<std::uint32_t>(std::lower_bound(begin, begin + 15, unit) - begin)];
          error += std::pow(x[r * cols + c] - level * scale[c], 2);
        }
        EXPECT_NEAR(expected[c], error, 1e-5 * (error + 1e-6));
      }
      for (const Kernels* set : available_kernels()) {
        std::vector<float> got(cols);
        set->level_error(x.data(), rows, cols, bounds.data(), levels.data(), inverse.data(), scale.data(), got.data());
        EXPECT_TRUE(same_bits(got, expected)) << set->name << " " << rows << " " << cols;
      }
    }
  }
}

TEST(NearestPoints, TakeTheFirstOfTheNearestInEverySet) {
  for (const std::uint32_t cols : {1u, 24u, 64u, 130u}) {
    for (const std::uint32_t count : {1u, 7u, 256u}) {
      auto x = random_floats(cols, 1), y = random_floats(cols, 2), points = random_floats(2 * count, 3);
      if (count > 1) std::copy_n(points.begin(), 2, points.end() - 2);  // equals are met
      x[0] = points[0];
      y[0] = points[1];
      if (cols > 1) x[1] = NAN;
      std::vector<std::uint8_t> expected(cols);
      std::vector<float> distance(cols);
      find_kernels("scalar")->nearest_points(x.data(), y.data(), cols, points.data(), count, expected.data(),
                                             distance.data());
      EXPECT_EQ(expected[0], 0);
      EXPECT_EQ(distance[0], 0.0f);
      for (std::uint32_t c = 0; c < cols; ++c) {
        if (std::isnan(x[c])) {
          EXPECT_EQ(expected[c], 0);
          EXPECT_EQ(distance[c], INFINITY);
          continue;
        }
        for (std::uint32_t k = 0; k < count; ++k) {
          EXPECT_GE(std::pow(x[c] - points[2 * k], 2) + std::pow(y[c] - points[2 * k + 1], 2),
                    distance[c] * (1 - 1e-5));
        }
      }
      for (const Kernels* set : available_kernels()) {
        std::vector<std::uint8_t> got(cols);
        std::vector<float> far(cols);
        set->nearest_points(x.data(), y.data(), cols, points.data(), count, got.data(), far.data());
        EXPECT_EQ(got, expected) << set->name;
        EXPECT_TRUE(same_bits(far, distance)) << set->name;
      }
    }
  }
}

}  // namespace
}  // namespace cairn
