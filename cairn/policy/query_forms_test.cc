// SPDX-License-Identifier: Apache-2.0
// What readers ask with, against the formulas in plain doubles and by hand.
#include "cairn/policy/query_forms.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "cairn/base/random.h"

namespace cairn {
namespace {

TEST(ProbeQuery, WeighsQueriesByTheirBias) {
  SeededRandom random(1, "probe");
  constexpr std::uint32_t kDim = 12;
  for (const std::size_t count : {std::size_t{2}, std::size_t{5}, std::size_t{32}}) {
    std::vector<std::vector<float>> window(count, std::vector<float>(kDim));
    std::vector<const float*> pointers;
    for (auto& q : window) {
      for (std::uint32_t c = 0; c < kDim; ++c) q[c] = c == 3 ? 7.0f : static_cast<float>(random.unit() * 4 - 2);
      pointers.push_back(q.data());
    }
    std::vector<double> weights(count);
    double sum = 0;
    for (std::size_t i = 0; i < count; ++i) {
      double bias = 0;
      for (std::uint32_t c = 0; c < kDim; ++c) {
        if (c == 3) continue;  // it does not vary
        double mean = 0, variance = 0;
        for (const auto& q : window) mean += double{q[c]} / double(count);
        for (const auto& q : window) variance += std::pow(double{q[c]} - mean, 2) / double(count);
        bias += std::pow((double{window[i][c]} - mean) / std::sqrt(variance), 2) / kDim;
      }
      sum += weights[i] = std::exp(bias);
    }
    std::vector<float> probe(kDim);
    probe_query(pointers, kDim, probe.data());
    for (std::uint32_t c = 0; c < kDim; ++c) {
      double expected = 0;
      for (std::size_t i = 0; i < count; ++i) expected += weights[i] / sum * double{window[i][c]};
      ASSERT_NEAR(double{probe[c]}, expected, 1e-5) << count << ' ' << c;
    }
  }
}

TEST(ProbeQuery, OneQueryIsItself) {
  const std::vector<float> q = {1, -2, 0.5f};
  const float* pointer = q.data();
  std::vector<float> probe(3);
  probe_query({&pointer, 1}, 3, probe.data());
  EXPECT_EQ(probe, q);
}

// Nine queries alike and one that is not: the probe lies nearer to that one than the mean does.
TEST(ProbeQuery, LeansToTheUnusual) {
  const std::vector<float> usual = {1, 0}, unusual = {-1, 5};
  std::vector<const float*> window(9, usual.data());
  window.insert(window.begin() + 4, unusual.data());
  std::vector<float> probe(2);
  probe_query(window, 2, probe.data());
  EXPECT_GT(probe[1], 4.5f);  // the mean has 0.5
  EXPECT_LT(probe[0], -0.7f);
}

TEST(TopChannels, StayScaledAndTheRestIsZero) {
  // Sums of magnitudes over both heads: 5, 3, 5, 1, 9. The first two of equal ones come first.
  std::vector<float> q = {4, -1, 1, 1, -5, 1, 2, -4, 0, 4};
  std::vector<float> two = q, three = q;
  leave_top_channels(two, 5, 2);
  leave_top_channels(three, 5, 3);
  const auto first = static_cast<float>(std::sqrt(12.0 / 9)), second = static_cast<float>(std::sqrt(11.0 / 5));
  const std::vector<float> expected = {4 * first, 0, 0, 0, -5 * first, 1 * second, 0, 0, 0, 4 * second};
  for (std::size_t i = 0; i < q.size(); ++i) EXPECT_FLOAT_EQ(two[i], expected[i]) << i;
  EXPECT_FLOAT_EQ(three[2], static_cast<float>(std::sqrt(12.0 / 10)));
  EXPECT_EQ(three[1], 0.0f);
  std::vector<float> all = q;
  leave_top_channels(all, 5, 9);
  EXPECT_EQ(all, q);
  std::vector<float> nothing(10);
  leave_top_channels(nothing, 5, 2);
  EXPECT_EQ(nothing, std::vector<float>(10));
}

}  // namespace
}  // namespace cairn
