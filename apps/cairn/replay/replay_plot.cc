// SPDX-License-Identifier: Apache-2.0
// The plot of `cairn replay`: axes with round values, SVG elements, one line per policy.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "apps/cairn/replay/replay_report.h"
#include "apps/cairn/terminal.h"
#include "cairn/base/utf8.h"

namespace cairn::cli {
namespace {

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

constexpr double kWidth = 720, kHeight = 420, kLeft = 62, kRight = 600, kTop = 40, kBottom = 360;
constexpr std::size_t kColours = 6;

constexpr std::string_view kStyle =
    "svg{background:#fff}text{fill:#1b1f24;font:12px system-ui,sans-serif}.grid{stroke:#eaecef}"
    ".axis{stroke:#5b6470}polyline{fill:none;stroke-width:2}circle{stroke:none}"
    ".p0{stroke:#7a828c}circle.p0{fill:#7a828c}.p1{stroke:#c2571a}circle.p1{fill:#c2571a}"
    ".p2{stroke:#1f6fb2}circle.p2{fill:#1f6fb2}.p3{stroke:#2e8b57}circle.p3{fill:#2e8b57}"
    ".p4{stroke:#8a4fb0}circle.p4{fill:#8a4fb0}.p5{stroke:#b0a000}circle.p5{fill:#b0a000}";

}  // namespace

std::string replay_plot(const TraceReplay& replay) {
  std::vector<std::string> policies;
  std::map<std::string, std::vector<std::pair<double, double>>> lines;  // capacity, hit rate
  double low = 0, high = 0, highest = 0, lowest = 1;
  for (const ReplayRow& row : replay.rows) {
    if (row.capacity_blocks == 0) continue;
    if (!lines.contains(row.policy)) policies.push_back(row.policy);
    const auto capacity = static_cast<double>(row.capacity_blocks);
    const double hits = rate(row.counts.hits, row.counts.lookups);
    lines[row.policy].emplace_back(capacity, hits);
    low = low == 0 ? capacity : std::min(low, capacity);
    high = std::max(high, capacity);
    highest = std::max(highest, hits);
    lowest = std::min(lowest, hits);
  }
  SvgCanvas canvas(kWidth, kHeight, "Hit rate over capacity", "Block hit rate of eviction policies on " + replay.file,
                   kStyle);
  canvas.text({kLeft, 22}, replay.file, "title");
  if (!lines.empty()) {
    const Axis x = decade_axis(low, std::max(high, low * 2), kLeft, kRight);
    const Axis y = share_axis(std::min(lowest, 0.99), highest, kBottom, kTop);
    for (const Tick& tick : y.ticks) {
      canvas.line({kLeft, y.at(tick.value)}, {kRight, y.at(tick.value)}, "grid");
      canvas.text({kLeft - 8, y.at(tick.value) + 4}, tick.label, "tick", Anchor::kEnd);
    }
    for (const Tick& tick : x.ticks) canvas.text({x.at(tick.value), kBottom + 18}, tick.label, "tick", Anchor::kMiddle);
    canvas.line({kLeft, kBottom}, {kRight, kBottom}, "axis");
    for (std::size_t i = 0; i < policies.size(); ++i) {
      const std::string colour = "p" + std::to_string(i % kColours);
      std::vector<SvgPoint> points;
      for (const auto& [capacity, hits] : lines[policies[i]]) points.push_back({x.at(capacity), y.at(hits)});
      canvas.polyline(points, colour);
      for (const SvgPoint& point : points) canvas.circle(point, 3, colour);
      const double name_y = kTop + 10 + 20 * static_cast<double>(i);
      canvas.circle({kRight + 20, name_y - 4}, 5, colour);
      canvas.text({kRight + 30, name_y}, policies[i], "legend");
    }
    canvas.text({(kLeft + kRight) / 2, kBottom + 42}, "capacity in blocks", "axis-title", Anchor::kMiddle);
    canvas.vertical_text({16, (kTop + kBottom) / 2}, "block hit rate", "axis-title");
  }
  return canvas.finish();
}

}  // namespace cairn::cli
