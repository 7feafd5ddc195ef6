// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

#include "cairn/base/check.h"

namespace cairn {

// The q-quantile, linear between neighbours; reorders `values`. Requires: not empty, q in [0, 1].
inline double quantile(std::span<double> values, double q) {
  CAIRN_CHECK(!values.empty() && q >= 0 && q <= 1);
  const double at = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::ptrdiff_t>(at);
  std::nth_element(values.begin(), values.begin() + below, values.end());
  const double low = values[static_cast<std::size_t>(below)];
  if (static_cast<std::size_t>(below) + 1 == values.size()) return low;
  const double high = *std::min_element(values.begin() + below + 1, values.end());
  return low + (high - low) * (at - static_cast<double>(below));
}

}  // namespace cairn
