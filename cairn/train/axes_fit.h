// SPDX-License-Identifier: Apache-2.0
// The axes of one head for codec `axes`, from its keys or values and from what an error in them counts.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace cairn::train {

// A value. Axes come by falling variance until reorder().
struct HeadAxes {
  std::uint32_t dim = 0;
  std::vector<float> matrices;   // [3][dim][dim]: forward, back and query, as Basis::trained() takes them
  std::vector<float> mean;       // on the axes
  std::vector<float> weight;     // root of what a squared error on each axis counts; 1 on the mean of squares
  std::vector<double> variance;  // of a token over its gain, weighted

  // Axis i becomes what axis order[i] was.
  void reorder(std::span<const std::uint32_t> order);
  // rows [n, dim] on the axes, without the mean, over their gains, which are roots of mean squares, times the weights.
  std::vector<float> units(std::span<const float> rows) const;
};

// rows [n, dim]; weights [dim, dim], symmetric and not negative: what an error e costs is e' weights e. Keys take
// orthogonal axes, the principal ones of the tokens over their gains: weighting them would make the few keys worse that
// are larger than all others. Values take the axes on which errors cost alike (the Karhunen-Loeve transform of the
// weighted values). Requires: n > 0, finite rows.
HeadAxes fit_axes(std::span<const float> rows, std::uint32_t dim, std::span<const double> weights, bool keys);

}  // namespace cairn::train
