// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/linear.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <thread>
#include <vector>

#include "cairn/base/half.h"
#include "cairn/testing/random.h"

namespace cairn {
namespace {

// Weights as a file has them, and the values they stand for.
struct Weights {
  WeightFormat format;
  std::uint32_t rows, cols;
  std::vector<float> values;
  std::vector<std::uint16_t> halves;

  Weights(WeightFormat weight_format, std::uint32_t weight_rows, std::uint32_t weight_cols)
      : format(weight_format), rows(weight_rows), cols(weight_cols) {
    values = testing::random_floats(std::size_t{rows} * cols, 1);
    if (format == WeightFormat::kF32) return;
    for (float& value : values) {
      halves.push_back(format == WeightFormat::kF16 ? f32_to_f16(value) : f32_to_bf16(value));
      value = format == WeightFormat::kF16 ? f16_to_f32(halves.back()) : bf16_to_f32(halves.back());
    }
  }

  Linear linear() const {
    const auto bytes = halves.empty() ? std::as_bytes(std::span(values)) : std::as_bytes(std::span(halves));
    return Linear(*DenseMatrix::create(format, rows, cols, bytes), rows, cols);
  }
};

TEST(LinearEngine, DenseProductsEqualThoseInDoubles) {
  ThreadPool pool(2);
  LinearEngine engine(pool);
  for (const WeightFormat format : {WeightFormat::kF32, WeightFormat::kF16, WeightFormat::kBF16}) {
    const Weights weights(format, 130, 96);  // two tiles and a bit
    Linear linear = weights.linear();
    for (const std::uint32_t rows : {1u, 2u, 5u, 40u, 64u, 65u, 150u}) {
      auto x = testing::random_floats(std::size_t{rows} * weights.cols, rows);
      for (float& value : x) value = bf16_to_f32(f32_to_bf16(value));  // so that rounding the input loses nothing
      std::vector<float> out(std::size_t{rows} * weights.rows);
      const LinearTarget target[] = {{&linear, out.data(), weights.rows}};
      ASSERT_TRUE(engine.multiply(x.data(), rows, weights.cols, target));
      for (std::size_t i = 0; i < out.size(); ++i) {
        double expected = 0;
        for (std::uint32_t c = 0; c < weights.cols; ++c) {
          expected += static_cast<double>(x[i / weights.rows * weights.cols + c]) *
                      weights.values[i % weights.rows * weights.cols + c];
        }
        ASSERT_NEAR(out[i], expected, 1e-4) << rows << " " << i;
      }
    }
  }
}

std::ptrdiff_t threads_of_this_process() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"), {});
}

// Also where products are made and run by a thread that has had nothing to do with the library before.
TEST(LinearEngine, TheDenseLibraryStartsNoThreads) {
  const Weights weights(WeightFormat::kF32, 256, 2048);
  const auto x = testing::random_floats(std::size_t{64} * weights.cols, 2);
  for (int round = 0; round < 2; ++round) {
    std::thread([&] {
      ThreadPool pool(2);
      const auto before = threads_of_this_process();
      LinearEngine engine(pool);
      Linear linear = weights.linear();
      std::vector<float> out(std::size_t{64} * weights.rows);
      const LinearTarget target[] = {{&linear, out.data(), weights.rows}};
      EXPECT_TRUE(engine.multiply(x.data(), 64, weights.cols, target));
      EXPECT_TRUE(engine.multiply(x.data(), 8, weights.cols, target));
      EXPECT_EQ(threads_of_this_process(), before);
    }).join();
  }
}

}  // namespace
}  // namespace cairn
