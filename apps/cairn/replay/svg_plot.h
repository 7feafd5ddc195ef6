// SPDX-License-Identifier: Apache-2.0
// What a plot in a file of its own is made of: axes with round values, and SVG elements.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace cairn::cli {

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

// Logarithmic, with ticks at powers of ten, and 2 and 5 between where the range is short. Requires 0 < low <= high; the
// ends become round.
Axis decade_axis(double low, double high, double from, double to);

// Linear, for shares between 0 and 1, in per cent. The range ends at round values.
Axis share_axis(double low, double high, double from, double to);

struct SvgPoint {
  double x = 0, y = 0;
};

enum class Anchor { kStart, kMiddle, kEnd };

// Writes one SVG file. All text is escaped here; coordinates are written with one decimal. Thread-compatible.
class SvgCanvas {
 public:
  // Title and description are what a screen reader says; `style` is the file's style sheet.
  SvgCanvas(double width, double height, std::string_view title, std::string_view description, std::string_view style);

  void line(SvgPoint from, SvgPoint to, std::string_view css_class);
  void polyline(const std::vector<SvgPoint>& points, std::string_view css_class);
  void circle(SvgPoint centre, double radius, std::string_view css_class);
  void text(SvgPoint base, std::string_view text, std::string_view css_class, Anchor anchor = Anchor::kStart);
  void vertical_text(SvgPoint base, std::string_view text, std::string_view css_class);  // reads upwards, centred

  std::string finish();  // the whole file

 private:
  std::string out_;
};

}  // namespace cairn::cli
