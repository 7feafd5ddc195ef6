// SPDX-License-Identifier: Apache-2.0
// Writes one inline SVG. Colours and fonts are classes, which the page's style sheet gives a light and a dark face.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace cairn {

struct SvgPoint {
  double x = 0, y = 0;
};

enum class Anchor { kStart, kMiddle, kEnd };

// All text and class names are escaped here. Coordinates are written with one decimal. Thread-compatible.
class SvgCanvas {
 public:
  // `id` is unique in the page; title and description are what a screen reader says.
  SvgCanvas(std::string_view id, double width, double height, std::string_view title, std::string_view description);

  // A group is one mark to the reader: its title is shown on hover. Close every group.
  void open_group(std::string_view css_class, std::string_view title = {}, std::string_view data_recipe = {});
  void close_group();

  void line(SvgPoint from, SvgPoint to, std::string_view css_class);
  void polyline(const std::vector<SvgPoint>& points, std::string_view css_class);
  void area(const std::vector<SvgPoint>& points, std::string_view css_class);
  void circle(SvgPoint centre, double radius, std::string_view css_class);
  void text(SvgPoint base, std::string_view text, std::string_view css_class, Anchor anchor = Anchor::kStart);
  void vertical_text(SvgPoint base, std::string_view text, std::string_view css_class);  // reads upwards, centred

  double width() const { return width_; }
  std::string finish();  // the whole element

 private:
  double width_;
  std::string out_;
};

}  // namespace cairn
