// SPDX-License-Identifier: Apache-2.0
// From values to pixels, and the round values worth a tick.
#pragma once

#include <string>
#include <vector>

namespace cairn {

struct Tick {
  double value;
  std::string label;
};

// Immutable. `from` and `to` are the pixels of `low` and `high`; values beyond are clamped.
struct Axis {
  double low = 0, high = 1, from = 0, to = 1;
  bool logarithmic = false;
  std::vector<Tick> ticks;  // within [low, high], at most a dozen

  double at(double value) const;
};

// Logarithmic, for sizes: ticks at powers of two, and quarters between where the range is short. Requires 0 < low <=
// high; widens the range by a margin.
Axis size_axis(double low, double high, double from, double to);

// Logarithmic, with ticks at powers of ten, and 2 and 5 between where the range is short. Requires as above; the ends
// become round.
Axis decade_axis(double low, double high, double from, double to);

// Linear, for shares between 0 and 1, in per cent. The range ends at round values.
Axis share_axis(double low, double high, double from, double to);

}  // namespace cairn
