// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "cairn/kernels/kernels.h"
#include "cairn/testing/random.h"

namespace cairn {
namespace {

TEST(TurnRows, IsTheProductInEverySet) {
  for (const std::uint32_t dim : {16u, 48u, 64u, 80u, 128u}) {
    for (const std::uint32_t depth : {1u, 16u, 24u, 64u, 192u}) {
      const auto matrix = testing::random_floats(depth * dim, dim + depth);
      for (const std::uint32_t rows : {1u, 2u, 3u, 4u, 5u, 9u}) {
        const std::size_t stride = depth + 16;
        const auto x = testing::random_floats(static_cast<std::uint32_t>(stride) * rows, rows);
        std::vector<float> expected(std::size_t{rows} * dim);
        find_kernels("scalar")->turn_rows(x.data(), stride, rows, depth, dim, matrix.data(), expected.data());
        for (std::uint32_t r = 0; r < rows; ++r) {
          for (std::uint32_t i = 0; i < dim; ++i) {
            double sum = 0;
            for (std::uint32_t d = 0; d < depth; ++d) sum += double{x[r * stride + d]} * matrix[d * dim + i];
            EXPECT_NEAR(expected[r * dim + i], sum, 1e-4);
          }
        }
        for (const Kernels* set : available_kernels()) {
          std::vector<float> got(expected.size());
          set->turn_rows(x.data(), stride, rows, depth, dim, matrix.data(), got.data());
          EXPECT_EQ(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)), 0)
              << set->name << " rows " << rows << " of " << depth << " to " << dim;
        }
      }
    }
  }
}

}  // namespace
}  // namespace cairn
