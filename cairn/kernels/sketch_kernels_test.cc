// SPDX-License-Identifier: Apache-2.0
// The greatest scores of sketched keys: against doubles, and the same bits from every set.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "cairn/base/half.h"
#include "cairn/kernels/kernels.h"
#include "cairn/testing/random.h"

namespace cairn {
namespace {

using testing::random_floats;

struct TestSheet {
  std::vector<std::uint8_t> codes;
  std::vector<std::uint16_t> scales;
  std::vector<float> middle;
  SketchSheet sheet;

  explicit TestSheet(std::uint32_t depth)
      : codes(kPageBoxTokens * sketch_vectors(depth) * 64),
        scales(kPageBoxTokens * kSketchBoxes),
        middle(random_floats(depth, depth)) {
    std::mt19937 random(depth);
    for (auto& code : codes) code = static_cast<std::uint8_t>(random());
    const auto values = random_floats(scales.size(), depth + 1);
    for (std::size_t i = 0; i < scales.size(); ++i) scales[i] = f32_to_f16(std::fabs(values[i]));
    sheet = {codes.data(), scales.data(), middle.data(), depth};
  }

  double key(std::uint32_t box, std::uint32_t token, std::uint32_t channel) const {
    const std::size_t vector = token * sketch_vectors(sheet.depth) + channel / kSketchChannels;
    const std::uint32_t within = channel % kSketchChannels;
    const int code = codes[vector * 64 + box * 4 + within % 4] >> within / 4 * 2 & 3;
    return double{middle[channel]} + double{f16_to_f32(scales[token * kSketchBoxes + box])} * (2 * code - 3);
  }
};

struct TestQueries {
  std::vector<float> q;
  std::vector<std::int8_t> codes;
  std::vector<SketchQuery> queries;

  TestQueries(std::uint32_t rows, std::uint32_t depth) : q(rows * depth) {
    const std::uint32_t padded = sketch_vectors(depth) * kSketchChannels;
    codes.resize(rows * padded);
    std::mt19937 random(rows + depth);
    for (std::uint32_t r = 0; r < rows; ++r) {
      const float scale = 0.01f * static_cast<float>(r + 1);
      std::int32_t sum = 0;
      for (std::uint32_t d = 0; d < depth; ++d) {
        codes[r * padded + d] = static_cast<std::int8_t>(static_cast<int>(random() % 255) - 127);
        q[r * depth + d] = scale * codes[r * padded + d];
        sum += codes[r * padded + d];
      }
      queries.push_back({q.data() + r * depth, codes.data() + r * padded, scale, sum});
    }
  }
};

TEST(SketchTops, AreTheGreatestScoresAndTheSameBitsFromEverySet) {
  for (const std::uint32_t depth : {8u, 24u, 64u, 80u, 128u}) {
    const TestSheet sheet(depth);
    for (const std::uint32_t rows : {1u, 2u, 3u, 4u, 5u, 8u}) {
      const TestQueries queries(rows, depth);
      std::vector<float> expected(rows * kSketchBoxes);
      find_kernels("scalar")->sketch_tops(sheet.sheet, queries.queries.data(), rows, {}, expected.data());
      for (std::uint32_t r = 0; r < rows; ++r) {
        for (std::uint32_t b = 0; b < kSketchBoxes; ++b) {
          double best = -std::numeric_limits<double>::infinity(), size = 0;
          for (std::uint32_t t = 0; t < kPageBoxTokens; ++t) {
            double sum = 0;
            for (std::uint32_t d = 0; d < depth; ++d) {
              sum += double{queries.q[r * depth + d]} * sheet.key(b, t, d);
              size += std::fabs(double{queries.q[r * depth + d]} * sheet.key(b, t, d));
            }
            best = std::max(best, sum);
          }
          ASSERT_NEAR(expected[r * kSketchBoxes + b], best, 1e-6 * size) << depth << " " << rows;
        }
      }
      for (const Kernels* set : available_kernels()) {
        std::vector<float> got(rows * kSketchBoxes);
        set->sketch_tops(sheet.sheet, queries.queries.data(), rows, {sheet.codes.data(), sheet.codes.size()},
                         got.data());
        ASSERT_EQ(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)), 0) << set->name << " " << depth;
      }
    }
  }
}

}  // namespace
}  // namespace cairn
