// SPDX-License-Identifier: Apache-2.0
// Summaries with their uncertainty.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace cairn {

// A figure and its 95 % interval.
struct Estimate {
  double value = 0, low = 0, high = 0;
};

// Wilson's score interval of `successes` out of `trials`. Zero trials: 0 with the interval [0, 1].
Estimate wilson(std::size_t successes, std::size_t trials);

// Figures of all groups, with percentile intervals over `resamples` draws of whole groups with replacement: what lies
// in one group may depend on each other. `figures` gets the indices of the drawn groups and fills its span of `count`.
// Requires: groups > 0. With one group there is nothing to draw from: each interval is the value itself.
std::vector<Estimate> bootstrap(
    std::size_t groups, std::size_t count, std::uint64_t seed,
    const std::function<void(std::span<const std::size_t> drawn, std::span<double> figures)>& figures,
    std::size_t resamples = 1000);

}  // namespace cairn
