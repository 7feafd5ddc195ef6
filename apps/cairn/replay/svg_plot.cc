// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/replay/svg_plot.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "apps/cairn/terminal.h"
#include "cairn/base/utf8.h"

namespace cairn::cli {
namespace {

std::string escaped(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t length = utf8_char_length(text);
    switch (text[0]) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: {
        const bool fits = length > 1 || (length == 1 && text[0] >= 0x20 && text[0] != 0x7F);
        out += fits ? text.substr(0, length) : kReplacementCharacter;
      }
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return out;
}

std::string px(double value) {
  std::string text = format_number(value, 1);
  if (text.ends_with(".0")) text.resize(text.size() - 2);
  return text == "-0" ? "0" : text;
}

std::string attribute(std::string_view name, std::string_view value) {
  return " " + std::string(name) + "=\"" + escaped(value) + "\"";
}

std::string at(std::string_view name, double value) {
  return attribute(name, px(value));
}

std::string point_list(const std::vector<SvgPoint>& points) {
  std::string text;
  for (const SvgPoint& point : points) text += (text.empty() ? "" : " ") + px(point.x) + "," + px(point.y);
  return text;
}

std::string tick_text(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%g", value);
  return buffer;
}

}  // namespace

double Axis::at(double value) const {
  const double inside = std::clamp(value, low, high);
  const double share = logarithmic ? std::log(inside / low) / std::log(high / low) : (inside - low) / (high - low);
  return from + share * (to - from);
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

SvgCanvas::SvgCanvas(double width, double height, std::string_view title, std::string_view description,
                     std::string_view style)
    : out_("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + px(width) + " " + px(height) +
           "\" role=\"img\" aria-labelledby=\"title desc\">\n<style>" + std::string(style) +
           "</style>\n<title id=\"title\">" + escaped(title) + "</title>\n<desc id=\"desc\">" + escaped(description) +
           "</desc>\n") {}

void SvgCanvas::line(SvgPoint from, SvgPoint to, std::string_view css_class) {
  out_ += "<line" + at("x1", from.x) + at("y1", from.y) + at("x2", to.x) + at("y2", to.y) +
          attribute("class", css_class) + "/>\n";
}

void SvgCanvas::polyline(const std::vector<SvgPoint>& points, std::string_view css_class) {
  out_ += "<polyline" + attribute("points", point_list(points)) + attribute("class", css_class) + "/>\n";
}

void SvgCanvas::circle(SvgPoint centre, double radius, std::string_view css_class) {
  out_ +=
      "<circle" + at("cx", centre.x) + at("cy", centre.y) + at("r", radius) + attribute("class", css_class) + "/>\n";
}

void SvgCanvas::text(SvgPoint base, std::string_view text, std::string_view css_class, Anchor anchor) {
  static constexpr const char* kAnchors[] = {"start", "middle", "end"};
  out_ += "<text" + at("x", base.x) + at("y", base.y) + attribute("class", css_class);
  if (anchor != Anchor::kStart) out_ += attribute("text-anchor", kAnchors[static_cast<int>(anchor)]);
  out_ += ">" + escaped(text) + "</text>\n";
}

void SvgCanvas::vertical_text(SvgPoint base, std::string_view text, std::string_view css_class) {
  out_ += "<text" + attribute("transform", "translate(" + px(base.x) + " " + px(base.y) + ") rotate(-90)") +
          attribute("class", css_class) + attribute("text-anchor", "middle") + ">" + escaped(text) + "</text>\n";
}

std::string SvgCanvas::finish() {
  return out_ + "</svg>\n";
}

}  // namespace cairn::cli
