// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/eval/svg_canvas.h"

#include "apps/cairn/eval/html_text.h"
#include "apps/cairn/text.h"

namespace cairn {
namespace {

std::string px(double value) {
  std::string text = format_number(value, 1);
  if (text.ends_with(".0")) text.resize(text.size() - 2);
  return text == "-0" ? "0" : text;
}

std::string attribute(std::string_view name, std::string_view value) {
  return " " + std::string(name) + "=\"" + html(value) + "\"";
}

std::string at(std::string_view name, double value) {
  return attribute(name, px(value));
}

std::string point_list(const std::vector<SvgPoint>& points) {
  std::string text;
  for (const SvgPoint& point : points) text += (text.empty() ? "" : " ") + px(point.x) + "," + px(point.y);
  return text;
}

}  // namespace

SvgCanvas::SvgCanvas(std::string_view id, double width, double height, std::string_view title,
                     std::string_view description)
    : width_(width) {
  const std::string name = html(id);
  out_ = "<svg id=\"" + name + "\" viewBox=\"0 0 " + px(width) + " " + px(height) +
         "\" role=\"img\" aria-labelledby=\"" + name + "-title " + name + "-desc\">\n<title id=\"" + name +
         "-title\">" + html(title) + "</title>\n<desc id=\"" + name + "-desc\">" + html(description) + "</desc>\n";
}

void SvgCanvas::open_group(std::string_view css_class, std::string_view title, std::string_view data_recipe) {
  out_ += "<g" + attribute("class", css_class);
  if (!data_recipe.empty()) out_ += attribute("data-recipe", data_recipe);
  out_ += ">";
  if (!title.empty()) out_ += "<title>" + html(title) + "</title>";
}

void SvgCanvas::close_group() {
  out_ += "</g>\n";
}

void SvgCanvas::line(SvgPoint from, SvgPoint to, std::string_view css_class) {
  out_ += "<line" + at("x1", from.x) + at("y1", from.y) + at("x2", to.x) + at("y2", to.y) +
          attribute("class", css_class) + "/>\n";
}

void SvgCanvas::polyline(const std::vector<SvgPoint>& points, std::string_view css_class) {
  out_ += "<polyline" + attribute("points", point_list(points)) + attribute("class", css_class) + "/>\n";
}

void SvgCanvas::area(const std::vector<SvgPoint>& points, std::string_view css_class) {
  out_ += "<polygon" + attribute("points", point_list(points)) + attribute("class", css_class) + "/>\n";
}

void SvgCanvas::circle(SvgPoint centre, double radius, std::string_view css_class) {
  out_ +=
      "<circle" + at("cx", centre.x) + at("cy", centre.y) + at("r", radius) + attribute("class", css_class) + "/>\n";
}

void SvgCanvas::text(SvgPoint base, std::string_view text, std::string_view css_class, Anchor anchor) {
  static constexpr const char* kAnchors[] = {"start", "middle", "end"};
  out_ += "<text" + at("x", base.x) + at("y", base.y) + attribute("class", css_class);
  if (anchor != Anchor::kStart) out_ += attribute("text-anchor", kAnchors[static_cast<int>(anchor)]);
  out_ += ">" + html(text) + "</text>\n";
}

void SvgCanvas::vertical_text(SvgPoint base, std::string_view text, std::string_view css_class) {
  out_ += "<text" + attribute("transform", "translate(" + px(base.x) + " " + px(base.y) + ") rotate(-90)") +
          attribute("class", css_class) + attribute("text-anchor", "middle") + ">" + html(text) + "</text>\n";
}

std::string SvgCanvas::finish() {
  return out_ + "</svg>\n";
}

}  // namespace cairn
