// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/linear.h"

#include <gtest/gtest.h>

#include <vector>

#include "cairn/testing/panels.h"

namespace cairn {
namespace {

// Several matrices of one call, dense and quantised, each cut into pieces of work.
TEST(LinearEngine, EveryTargetGetsItsProduct) {
  ThreadPool pool(2);
  LinearEngine engine(pool);
  const std::uint32_t cols = 96, dense_rows = 300, quantised_rows = 130;
  const auto values = testing::random_floats(std::size_t{dense_rows} * cols, 1);
  const auto bytes = std::as_bytes(std::span(values));
  const testing::Panels dense = testing::pack(WeightFormat::kF32, {bytes.begin(), bytes.end()}, dense_rows, cols);
  const auto codes = testing::random_matrix(WeightFormat::kQ8_0, quantised_rows, cols, 2);
  const testing::Panels quantised = testing::pack(WeightFormat::kQ8_0, codes, quantised_rows, cols);
  std::vector<float> decoded(std::size_t{quantised_rows} * cols);
  dequantise_row(WeightFormat::kQ8_0, codes.data(), decoded.size(), decoded.data());
  const Linear first(dense.matrix), second(quantised.matrix);
  for (const std::uint32_t rows : {1u, 2u, 5u, 40u, 65u}) {
    const auto x = testing::random_floats(std::size_t{rows} * cols, rows);
    std::vector<float> exact(std::size_t{rows} * dense_rows), close(std::size_t{rows} * quantised_rows);
    const LinearTarget targets[] = {{&first, exact.data(), dense_rows}, {&second, close.data(), quantised_rows}};
    engine.multiply(x.data(), rows, cols, targets);
    const auto expected = [&](const std::vector<float>& weights, std::size_t row, std::size_t output) {
      double sum = 0;
      for (std::uint32_t c = 0; c < cols; ++c) sum += double{x[row * cols + c]} * weights[output * cols + c];
      return sum;
    };
    for (std::uint32_t r = 0; r < rows; ++r) {
      for (std::uint32_t n = 0; n < dense_rows; ++n) {
        ASSERT_NEAR(exact[r * dense_rows + n], expected(values, r, n), 1e-4) << rows << " " << r << " " << n;
      }
      for (std::uint32_t n = 0; n < quantised_rows; ++n) {  // activations are rounded
        ASSERT_NEAR(close[r * quantised_rows + n], expected(decoded, r, n), 0.5) << rows << " " << r << " " << n;
      }
    }
  }
}

}  // namespace
}  // namespace cairn
