// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/eval/axis.h"

#include <algorithm>
#include <cmath>

#include "apps/cairn/eval/report_format.h"

namespace cairn {

double Axis::at(double value) const {
  const double inside = std::clamp(value, low, high);
  const double share = logarithmic ? std::log(inside / low) / std::log(high / low) : (inside - low) / (high - low);
  return from + share * (to - from);
}

Axis size_axis(double low, double high, double from, double to) {
  const double margin = std::max(std::pow(high / low, 0.08), 1.35);
  Axis axis = {low / margin, high * margin, from, to, true, {}};
  const int first = static_cast<int>(std::ceil(std::log2(axis.low)));
  const int last = static_cast<int>(std::floor(std::log2(axis.high)));
  const int step = std::max(1, (last - first) / 9);
  if (last - first < 2) {
    for (int power = first - 1; power <= last; ++power) {
      for (const double part : {1.0, 1.25, 1.5, 1.75}) {
        const double size = part * std::exp2(power);
        if (size >= axis.low && size <= axis.high) axis.ticks.push_back({size, figure_text(size)});
      }
    }
    return axis;
  }
  for (int power = first; power <= last; power += step) {
    axis.ticks.push_back({std::exp2(power), figure_text(std::exp2(power))});
  }
  return axis;
}

Axis decade_axis(double low, double high, double from, double to) {
  static constexpr double kRound[] = {1, 2, 5};
  // Where a step of the 1-2-5 series lies: kRound[index mod 3] times ten to the index div 3.
  const auto value_at = [](int index) {
    const int decade = index >= 0 ? index / 3 : -((2 - index) / 3);
    return kRound[index - 3 * decade] * std::pow(10, decade);
  };
  int first = 3 * static_cast<int>(std::floor(std::log10(low)));
  while (value_at(first + 1) <= low * 0.999) ++first;
  int last = first + 1;
  while (value_at(last) < high * 1.001) ++last;
  Axis axis = {value_at(first), value_at(last), from, to, true, {}};
  const int decades = (last - first) / 3;
  for (int index = first; index <= last; ++index) {
    const bool whole = ((index % 3) + 3) % 3 == 0;
    const int decade = static_cast<int>(std::floor(index / 3.0));
    if (decades > 3 && (!whole || decade % std::max(1, decades / 8) != 0)) continue;
    axis.ticks.push_back({value_at(index), tick_text(value_at(index))});
  }
  return axis;
}

Axis share_axis(double low, double high, double from, double to) {
  const double span = std::max(high - low, 0.05);
  const double step = span > 0.6 ? 0.2 : span > 0.3 ? 0.1 : span > 0.12 ? 0.05 : 0.02;
  const double last = std::clamp(std::ceil(high / step - 1e-9) * step, step, 1.0);
  const double first = std::clamp(std::floor(low / step + 1e-9) * step, 0.0, last - step);
  Axis axis = {first, last, from, to, false, {}};
  for (int i = 0; first + i * step <= last + 1e-9; ++i) {
    axis.ticks.push_back({first + i * step, std::to_string(std::lround((first + i * step) * 100)) + " %"});
  }
  return axis;
}

}  // namespace cairn
