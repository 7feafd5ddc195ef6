// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

namespace cairn {

// The q-quantile, linear between neighbours; reorders `values`. Requires: not empty, q in [0, 1].
double quantile(std::span<double> values, double q);

}  // namespace cairn
