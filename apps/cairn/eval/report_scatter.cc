// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/eval/report_scatter.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "apps/cairn/eval/axis.h"
#include "apps/cairn/eval/html_text.h"
#include "apps/cairn/eval/label_placement.h"
#include "apps/cairn/eval/pareto.h"
#include "apps/cairn/eval/svg_canvas.h"

namespace cairn {
namespace {

constexpr double kWidth = 1080, kHeight = 470;
constexpr double kLeft = 74, kRight = kWidth - 16, kTop = 42, kBottom = kHeight - 54;
constexpr double kZeroBand = 34, kRadius = 5;
constexpr double kLabelHeight = 15, kColumnWidth = 7.3;  // of the label font
constexpr double kSmallestBytes = 1e-3, kSmallestDivergence = 1e-12;
constexpr std::size_t kLabelLength = 36, kMaxLabels = 60;

// A point on its way to the paper.
struct Mark {
  const ScatterPoint* point;
  bool front = false;
  double x = 0, y = 0, top = 0, bottom = 0;  // the ends of the whisker
};

class Scatter {
 public:
  explicit Scatter(const ScatterSpec& spec)
      : spec_(spec), svg_(spec.id, kWidth, kHeight, spec.title, spec.description) {}

  std::string draw() {
    find_marks();
    fit_axes();
    place_marks();
    draw_frame();
    draw_legend();
    draw_front();
    draw_levels();
    for (const Mark& mark : marks_) draw_mark(mark);
    draw_labels();
    return svg_.finish();
  }

 private:
  bool share() const { return spec_.scale == ScatterScale::kShare; }
  bool zero(double value) const { return !share() && value < kSmallestDivergence; }

  // Those on the front come first: in the middle of the drawing, and first to be labelled.
  void find_marks() {
    std::vector<const ScatterPoint*> candidates;
    std::vector<CostPair> costs;
    for (const ScatterPoint& point : spec_.points) {
      if (point.bytes < kSmallestBytes) {
        levels_.push_back(&point);
      } else if (!point.control) {
        candidates.push_back(&point);
        costs.push_back({point.bytes, share() ? -point.y.value : zero(point.y.value) ? 0 : point.y.value});
      }
    }
    for (const std::size_t i : pareto_front(costs)) marks_.push_back({candidates[i], true});
    front_ = marks_.size();
    for (const ScatterPoint& point : spec_.points) {
      if (point.bytes < kSmallestBytes) continue;
      const bool known = std::ranges::any_of(marks_, [&](const Mark& mark) { return mark.point == &point; });
      if (!known) marks_.push_back({&point});
    }
  }

  void fit_axes() {
    std::optional<double> low, high, fewest, most;
    const auto widen = [](std::optional<double>& from, std::optional<double>& to, double value) {
      from = std::min(from.value_or(value), value);
      to = std::max(to.value_or(value), value);
    };
    for (const ScatterPoint& point : spec_.points) {
      if (point.bytes >= kSmallestBytes) widen(fewest, most, point.bytes);
      has_zero_ |= zero(point.y.value);
      // The logarithm of an interval's end near zero would squeeze everything else.
      for (const double value : {point.y.value, point.y.low, point.y.high}) {
        if (share() || (!zero(value) && value >= point.y.value / 5)) widen(low, high, value);
      }
    }
    x_ = size_axis(fewest.value_or(1), most.value_or(1), kLeft, kRight);
    y_ = share() ? share_axis(low.value_or(0), high.value_or(1), kBottom - 10, kTop + 12)
                 : decade_axis(low.value_or(0.01), high.value_or(1), kBottom - (has_zero_ ? kZeroBand : 0), kTop);
  }

  double y_of(double value) const { return zero(value) && has_zero_ ? kBottom - kZeroBand / 2 + 4 : y_.at(value); }

  // Points of one size whose whiskers would lie on each other stand side by side.
  void place_marks() {
    for (std::size_t i = 0; i < marks_.size(); ++i) {
      Mark& mark = marks_[i];
      const ScatterPoint& point = *mark.point;
      mark.y = y_of(point.y.value);
      mark.top = std::min(mark.y, y_of(point.y.high));
      mark.bottom = std::max(mark.y, y_of(point.y.low));
      const double x = x_.at(point.bytes);
      const auto collides = [&](const Mark& other) {
        return std::fabs(other.x - mark.x) < 2 * kRadius - 1 && other.top - kRadius < mark.bottom + kRadius &&
               mark.top - kRadius < other.bottom + kRadius;
      };
      for (int lane = 0; lane < 9; ++lane) {
        mark.x = x + (lane % 2 == 0 ? -1 : 1) * (lane + 1) / 2 * (2 * kRadius + 1);
        if (std::none_of(marks_.begin(), marks_.begin() + static_cast<std::ptrdiff_t>(i), collides)) break;
        if (lane == 8) mark.x = x;
      }
    }
  }

  void draw_frame() {
    for (const Tick& tick : x_.ticks) {
      const double x = x_.at(tick.value);
      svg_.line({x, kTop}, {x, kBottom}, "grid");
      svg_.text({x, kBottom + 18}, tick.label, "tick", Anchor::kMiddle);
    }
    for (const Tick& tick : y_.ticks) {
      const double y = y_.at(tick.value);
      svg_.line({kLeft, y}, {kRight, y}, "grid");
      svg_.text({kLeft - 8, y + 4}, tick.label, "tick", Anchor::kEnd);
    }
    if (has_zero_) {
      svg_.line({kLeft, kBottom - kZeroBand + 8}, {kRight, kBottom - kZeroBand + 8}, "break");
      svg_.text({kLeft - 8, y_of(0) + 4}, "0", "tick", Anchor::kEnd);
    }
    svg_.line({kLeft, kBottom}, {kRight, kBottom}, "axis");
    svg_.text({(kLeft + kRight) / 2, kBottom + 42}, "Bytes per token (logarithmic)", "axis-title", Anchor::kMiddle);
    svg_.vertical_text({16, (kTop + kBottom) / 2}, spec_.y_title, "axis-title");
  }

  void draw_legend() {
    double x = kLeft;
    const auto entry = [&](const char* css_class, const char* text, double width) {
      svg_.circle({x + 6, 16}, kRadius, css_class);
      svg_.text({x + 18, 20}, text, "legend");
      x += width;
    };
    svg_.line({x - 4, 16}, {x + 16, 16}, "front");
    entry("dot best", "on the Pareto front: nothing is smaller and better", 370);
    if (front_ < marks_.size()) entry("dot", "beaten by another recipe", 200);
    const bool controls = std::ranges::any_of(spec_.points, [](const ScatterPoint& point) { return point.control; });
    if (controls) entry("dot control", "control", 90);
    svg_.text({kRight, 20}, share() ? "better: up and left" : "better: down and left", "legend", Anchor::kEnd);
  }

  // A stair: between two points, the better of the smaller ones is the best there is.
  void draw_front() {
    if (front_ == 0) return;
    std::vector<SvgPoint> stair;
    for (std::size_t i = 0; i < front_; ++i) {
      const double x = x_.at(marks_[i].point->bytes);
      if (i > 0) stair.push_back({x, marks_[i - 1].y});
      stair.push_back({x, marks_[i].y});
    }
    stair.push_back({kRight, stair.back().y});
    svg_.polyline(stair, "front");
    for (std::size_t i = 1; i < stair.size(); ++i) {
      lines_.push_back({std::min(stair[i - 1].x, stair[i].x), std::min(stair[i - 1].y, stair[i].y),
                        std::fabs(stair[i].x - stair[i - 1].x), std::fabs(stair[i].y - stair[i - 1].y)});
    }
  }

  void draw_levels() {
    for (const ScatterPoint* level : levels_) {
      const double y = y_of(level->y.value);
      const std::string name = shorten(level->name, kLabelLength);
      const double width = static_cast<double>(text_columns(name)) * kColumnWidth;
      svg_.open_group("point sizeless", level->title, level->name);
      svg_.line({kLeft, y}, {kRight, y}, "level");
      svg_.text({kLeft + 6, y - 5}, name, "label");
      svg_.close_group();
      boxes_.push_back({kLeft + 6, y - 5 - kLabelHeight, width, kLabelHeight});
      lines_.push_back({kLeft, y, kRight - kLeft, 0});
    }
  }

  void draw_mark(const Mark& mark) {
    const ScatterPoint& point = *mark.point;
    const std::string_view kind = point.control ? " control" : mark.front ? " best" : "";
    svg_.open_group("point", point.title, point.name);
    if (point.y.low != point.y.high) {
      svg_.line({mark.x, mark.top}, {mark.x, mark.bottom}, "whisker" + std::string(kind));
      lines_.push_back({mark.x, mark.top, 0, mark.bottom - mark.top});
    }
    svg_.circle({mark.x, mark.y}, kRadius, "dot" + std::string(kind));
    svg_.close_group();
    boxes_.push_back({mark.x - kRadius, mark.y - kRadius, 2 * kRadius, 2 * kRadius});
  }

  void draw_labels() {
    std::vector<LabelRequest> requests;
    for (const Mark& mark : marks_) {
      if (requests.size() == kMaxLabels) break;
      const std::size_t columns = text_columns(shorten(mark.point->name, kLabelLength));
      requests.push_back({mark.x, mark.y, static_cast<double>(columns) * kColumnWidth, kLabelHeight});
    }
    const LabelBox bounds = {kLeft + 2, kTop - 8, kRight - kLeft - 2, kBottom - kTop + 6};
    const auto places = place_labels(requests, bounds, boxes_, lines_);
    for (std::size_t i = 0; i < places.size(); ++i) {
      if (!places[i]) continue;
      const LabelBox& box = *places[i];
      const SvgPoint end = {std::clamp(marks_[i].x, box.x, box.x + box.width),
                            std::clamp(marks_[i].y, box.y + 3, box.y + box.height - 3)};
      const double length = std::hypot(end.x - marks_[i].x, end.y - marks_[i].y);
      if (length > 13) {
        const double start = (kRadius + 1) / length;
        svg_.line({marks_[i].x + (end.x - marks_[i].x) * start, marks_[i].y + (end.y - marks_[i].y) * start}, end,
                  "leader");
      }
      svg_.text({box.x, box.y + 11.5}, shorten(marks_[i].point->name, kLabelLength),
                marks_[i].front ? "label best" : "label");
    }
  }

  const ScatterSpec& spec_;
  SvgCanvas svg_;
  std::vector<Mark> marks_;
  std::size_t front_ = 0;  // so many marks at the beginning
  std::vector<const ScatterPoint*> levels_;
  bool has_zero_ = false;
  Axis x_, y_;
  std::vector<LabelBox> boxes_, lines_;  // what labels must not and should not cover
};

}  // namespace

std::string scatter_svg(const ScatterSpec& spec) {
  return Scatter(spec).draw();
}

}  // namespace cairn
