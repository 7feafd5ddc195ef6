// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "cairn/kernels/kernels.h"
#include "cairn/testing/random.h"

namespace cairn {
namespace {

using testing::random_floats;

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::vector<std::uint8_t> random_codes(std::size_t count, std::uint32_t bits) {
  std::mt19937 random(bits);
  std::vector<std::uint8_t> codes(count);
  for (auto& code : codes) code = static_cast<std::uint8_t>(random() & ((1u << bits) - 1));
  return codes;
}

TEST(PackCodes, PutsEachCodeWhereTheFormulaSays) {
  for (const Kernels* set : available_kernels()) {
    for (const std::uint32_t bits : {2u, 4u, 8u}) {
      for (const std::uint32_t lanes : {1u, 8u, 16u, 24u, 64u, 80u}) {
        for (const std::uint32_t depth : {1u, 4u, 7u, 8u, 16u, 20u, 64u, 80u}) {
          const auto codes = random_codes(std::size_t{lanes} * depth, bits);
          for (const bool depth_first : {false, true}) {
            const std::size_t depth_stride = depth_first ? 1 : lanes, lane_stride = depth_first ? depth : 1;
            const std::uint32_t per_vector = 32 / bits, vectors = (depth + per_vector - 1) / per_vector;
            const std::size_t bytes = code_bytes(lanes, depth, bits);
            ASSERT_EQ(bytes, std::size_t{(lanes + 15) / 16} * vectors * 64);
            std::vector<std::uint8_t> expected(bytes, 0), got(bytes + 1, 0xa5);
            for (std::uint32_t lane = 0; lane < lanes; ++lane) {
              for (std::uint32_t d = 0; d < depth; ++d) {
                const std::uint32_t within = d % per_vector;
                auto& byte = expected[(lane / 16 * vectors + d / per_vector) * 64 + lane % 16 * 4 + within % 4];
                byte = static_cast<std::uint8_t>(byte | codes[d * depth_stride + lane * lane_stride]
                                                            << (within / 4 * bits));
              }
            }
            set->pack_codes(codes.data(), depth_stride, lane_stride, lanes, depth, bits, got.data());
            ASSERT_EQ(got.back(), 0xa5);
            got.pop_back();
            ASSERT_EQ(got, expected) << set->name << " bits " << bits << " lanes " << lanes << " depth " << depth;
          }
        }
      }
    }
  }
}

TEST(Hadamard, IsItsOwnInverseAndKeepsLengths) {
  for (const std::uint32_t width : {1u, 8u, 24u, 64u, 80u, 128u, 512u}) {
    const auto x = random_floats(width, width);
    const std::uint32_t run = width & (~width + 1);
    std::vector<float> expected = x;
    find_kernels("scalar")->hadamard(expected.data(), width);
    for (std::uint32_t i = 0; i < width; ++i) {  // the definition: signs by the parity of the common bits
      double exact = 0;
      for (std::uint32_t j = 0; j < run; ++j)
        exact += (__builtin_popcount(i % run & j) % 2 == 0 ? 1 : -1) * static_cast<double>(x[i / run * run + j]);
      EXPECT_NEAR(expected[i], exact / std::sqrt(run), 1e-5);
    }
    for (const Kernels* set : available_kernels()) {
      std::vector<float> y = x;
      set->hadamard(y.data(), width);
      EXPECT_TRUE(same_bits(y, expected)) << set->name << " " << width;
      set->hadamard(y.data(), width);
      for (std::uint32_t i = 0; i < width; ++i) EXPECT_NEAR(y[i], x[i], 2e-6);
    }
  }
}

struct Encoded {
  std::vector<float> low, high, error, transposed;
  std::vector<std::uint8_t> codes, levels;
};

Encoded encode(const Kernels& set, const std::vector<float>& x, std::uint32_t rows, std::uint32_t cols,
               std::uint32_t max_code, const std::vector<float>& bounds) {
  Encoded e = {std::vector<float>(cols),
               std::vector<float>(cols),
               std::vector<float>(cols),
               std::vector<float>(rows * cols),
               std::vector<std::uint8_t>(rows * cols),
               std::vector<std::uint8_t>(rows * cols)};
  set.column_range(x.data(), rows, cols, e.low.data(), e.high.data());
  std::vector<float> scale(cols), inverse(cols);
  for (std::uint32_t c = 0; c < cols; ++c) {
    scale[c] = (e.high[c] - e.low[c]) / static_cast<float>(max_code) * 0.8f;  // so that some codes are held at the top
    inverse[c] = 1.0f / scale[c];
  }
  set.quantise_columns(x.data(), rows, cols, e.low.data(), inverse.data(), max_code, e.codes.data());
  set.column_error(x.data(), rows, cols, e.low.data(), inverse.data(), scale.data(), max_code, e.error.data());
  set.quantise_levels(x.data(), rows, cols, bounds.data(), inverse.data(), e.levels.data());
  set.transpose(x.data(), rows, cols, e.transposed.data());
  return e;
}

TEST(EncodeKernels, FollowTheirDefinitionsInEverySet) {
  for (const std::uint32_t rows : {1u, 4u, 33u, 64u}) {
    for (const std::uint32_t cols : {1u, 8u, 24u, 64u, 80u, 130u}) {
      for (const std::uint32_t max_code : {3u, 15u, 255u}) {
        const auto x = random_floats(std::size_t{rows} * cols, rows + cols);
        auto bounds = random_floats(std::size_t{15} * rows, 3);
        for (std::uint32_t r = 0; r < rows; ++r) std::sort(bounds.begin() + r * 15, bounds.begin() + r * 15 + 15);
        const Encoded expected = encode(*find_kernels("scalar"), x, rows, cols, max_code, bounds);
        for (std::uint32_t c = 0; c < cols; ++c) {
          float low = x[c], high = x[c];
          double error = 0;
          for (std::uint32_t r = 0; r < rows; ++r) {
            const float value = x[r * cols + c];
            low = std::min(low, value);
            high = std::max(high, value);
            EXPECT_EQ(expected.transposed[c * rows + r], value);
          }
          EXPECT_EQ(expected.low[c], low);
          EXPECT_EQ(expected.high[c], high);
          const float scale = (high - low) / static_cast<float>(max_code) * 0.8f, inverse = 1.0f / scale;
          for (std::uint32_t r = 0; rows > 1 && r < rows; ++r) {  // a single row has no range
            const float value = x[r * cols + c];
            int below = 0;
            for (int k = 0; k < 15; ++k) below += bounds[r * 15 + k] < value * inverse;
            EXPECT_EQ(expected.levels[r * cols + c], below);
            const float code = std::min(std::nearbyint((value - low) * inverse), static_cast<float>(max_code));
            EXPECT_EQ(expected.codes[r * cols + c], code);
            const double distance = value - (static_cast<double>(low) + static_cast<double>(scale) * code);
            error += distance * distance;
          }
          if (rows > 1) {
            EXPECT_NEAR(expected.error[c], error, 1e-5 * (error + 1e-6));
          }
        }
        for (const Kernels* set : available_kernels()) {
          const Encoded got = encode(*set, x, rows, cols, max_code, bounds);
          EXPECT_TRUE(same_bits(got.low, expected.low)) << set->name;
          EXPECT_TRUE(same_bits(got.high, expected.high)) << set->name;
          EXPECT_TRUE(rows == 1 || same_bits(got.error, expected.error)) << set->name;
          EXPECT_TRUE(same_bits(got.transposed, expected.transposed)) << set->name;
          EXPECT_EQ(got.codes, expected.codes) << set->name;
          EXPECT_EQ(got.levels, expected.levels) << set->name;
        }
      }
    }
  }
}

TEST(EncodeKernels, NotANumberIsIgnoredAndBecomesZero) {
  std::vector<float> x = random_floats(64, 5);  // [4, 16]
  for (int c = 0; c < 16; c += 3) x[16 + c] = NAN;
  const std::vector<float> offset(16, -1.0f), inverse(16, 2.0f);
  for (const Kernels* set : available_kernels()) {
    std::vector<float> low(16), high(16);
    set->column_range(x.data(), 4, 16, low.data(), high.data());
    std::vector<std::uint8_t> codes(64);
    set->quantise_columns(x.data(), 4, 16, offset.data(), inverse.data(), 15, codes.data());
    for (int c = 0; c < 16; ++c) {
      EXPECT_TRUE(std::isfinite(low[c]) && std::isfinite(high[c])) << set->name;
      if (c % 3 == 0) {
        EXPECT_EQ(codes[16 + c], 0) << set->name;
      }
    }
  }
}

}  // namespace
}  // namespace cairn
