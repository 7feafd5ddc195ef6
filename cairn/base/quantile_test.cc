// SPDX-License-Identifier: Apache-2.0
#include "cairn/base/quantile.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace cairn {
namespace {

TEST(Quantile, InterpolatesBetweenSortedNeighbours) {
  EXPECT_TRUE(rc::check([](std::vector<std::int16_t> integers) {
    RC_PRE(!integers.empty());
    std::vector<double> values(integers.begin(), integers.end()), sorted = values;
    std::ranges::sort(sorted);
    const double q = *rc::gen::inRange(0, 1001) / 1000.0;
    const double at = q * static_cast<double>(sorted.size() - 1);
    const auto low = static_cast<std::size_t>(at);
    const double high = sorted[std::min(low + 1, sorted.size() - 1)];
    RC_ASSERT(std::abs(quantile(values, q) - (sorted[low] + (high - sorted[low]) * (at - std::floor(at)))) < 1e-9);
  }));
}

}  // namespace
}  // namespace cairn
