// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/eval/report_lines.h"

#include <algorithm>
#include <cstdint>
#include <set>
#include <string_view>
#include <vector>

#include "apps/cairn/eval/axis.h"
#include "apps/cairn/eval/html_text.h"
#include "apps/cairn/eval/report_format.h"
#include "apps/cairn/eval/svg_canvas.h"

namespace cairn {
namespace {

constexpr double kWidth = 1080, kNames = 214, kGap = 22;
constexpr double kHead = 52, kRow = 104, kPanel = 74, kFoot = 44;
constexpr double kColumn = 7.3;  // of the label font
constexpr std::size_t kNameColumns = 24;

struct Step {
  std::uint64_t place;  // the turn, or the depth
  Tally tally;
};

struct Facet {
  std::string_view mode;
  bool by_turn;
  std::vector<std::uint64_t> places;
};

std::optional<std::uint64_t> place_of(const SuiteCell& cell, bool by_turn) {
  return by_turn ? cell.turn : cell.depth;
}

std::vector<Step> steps_of(const SuiteRecipe& recipe, const Facet& facet) {
  std::vector<Step> steps;
  for (const std::uint64_t place : facet.places) {
    const Tally tally = tally_if(recipe.cells, [&](const SuiteCell& cell) {
      return cell.mode == facet.mode && place_of(cell, facet.by_turn) == place;
    });
    if (tally.items > 0) steps.push_back({place, tally});
  }
  return steps;
}

std::vector<Facet> facets_of(const std::vector<const RecipeFigures*>& recipes) {
  std::vector<Facet> facets;
  for (const bool by_turn : {true, false}) {
    for (const std::string_view mode : {kMultiRequestMode, kMultiTurnMode}) {
      std::set<std::uint64_t> places;
      for (const RecipeFigures* figures : recipes) {
        for (const SuiteCell& cell : figures->suite->cells) {
          if (cell.mode == mode && cell.items > 0 && place_of(cell, by_turn)) places.insert(*place_of(cell, by_turn));
        }
      }
      if (!places.empty()) facets.push_back({mode, by_turn, {places.begin(), places.end()}});
    }
  }
  return facets;
}

class Lines {
 public:
  Lines(const std::string& id, std::vector<const RecipeFigures*> recipes)
      : recipes_(std::move(recipes)),
        facets_(facets_of(recipes_)),
        svg_(id, kWidth, kHead + kRow * static_cast<double>(recipes_.size()) + kFoot, "Accuracy by turn and by depth",
             "A row of panels per recipe. Points are accuracies with 95 % intervals; the grey line is the full cache. "
             "The tables below hold all figures.") {}

  std::string draw() {
    if (facets_.empty()) return {};
    for (std::size_t i = 0; i < facets_.size(); ++i) {
      const std::string by = facets_[i].by_turn ? "by turn" : "by depth of the answer";
      svg_.text({left(i), 18}, by, "facet");
      svg_.text({left(i), 35}, facets_[i].mode, "tick");
    }
    for (std::size_t row = 0; row < recipes_.size(); ++row) draw_row(row);
    const double foot = kHead + kRow * static_cast<double>(recipes_.size()) + 2;
    for (std::size_t i = 0; i < facets_.size(); ++i) draw_foot(i, foot);
    return svg_.finish();
  }

 private:
  double panel_width() const {
    return (kWidth - kNames) / static_cast<double>(std::max<std::size_t>(2, facets_.size())) - kGap;
  }
  double left(std::size_t facet) const { return kNames + kGap + static_cast<double>(facet) * (panel_width() + kGap); }
  double top(std::size_t row) const { return kHead + kRow * static_cast<double>(row); }

  double x_of(std::size_t facet, std::uint64_t place) const {
    const std::vector<std::uint64_t>& places = facets_[facet].places;
    const auto first = static_cast<double>(places.front());
    const auto span = static_cast<double>(std::max<std::uint64_t>(1, places.back() - places.front()));
    return left(facet) + 12 + (static_cast<double>(place) - first) / span * (panel_width() - 24);
  }
  double y_of(std::size_t row, double share) const { return top(row) + kPanel * (1 - share); }

  void draw_row(std::size_t row) {
    const RecipeFigures& figures = *recipes_[row];
    draw_name(figures, top(row) + kPanel / 2);
    for (std::size_t i = 0; i < facets_.size(); ++i) {
      for (const double share : {0.0, 0.5, 1.0}) {
        const double y = y_of(row, share);
        svg_.line({left(i), y}, {left(i) + panel_width(), y}, share == 0 ? "axis" : "grid");
        if (i == 0)
          svg_.text({left(i) - 6, y + 4}, share == 1 ? "100 %" : share == 0 ? "0" : "50", "tick", Anchor::kEnd);
      }
      if (row > 0) draw_reference(i, row);
      draw_steps(i, row);
    }
  }

  void draw_name(const RecipeFigures& figures, double y) {
    svg_.open_group("name", figures.label());
    svg_.text({0, y + (figures.is_control() ? -4 : 4)}, shorten(figures.recipe, kNameColumns), "label");
    if (figures.is_control()) svg_.text({0, y + 13}, "control: " + shorten(figures.control, 20), "tick");
    svg_.close_group();
  }

  void draw_reference(std::size_t facet, std::size_t row) {
    std::vector<SvgPoint> points;
    for (const Step& step : steps_of(*recipes_.front()->suite, facets_[facet])) {
      points.push_back({x_of(facet, step.place), y_of(row, step.tally.accuracy()->value)});
    }
    if (points.size() > 1) svg_.polyline(points, "reference");
  }

  void draw_steps(std::size_t facet, std::size_t row) {
    const RecipeFigures& figures = *recipes_[row];
    const std::vector<Step> steps = steps_of(*figures.suite, facets_[facet]);
    std::vector<SvgPoint> points;
    for (const Step& step : steps) {
      points.push_back({x_of(facet, step.place), y_of(row, step.tally.accuracy()->value)});
    }
    const std::string kind = figures.is_control() ? " control" : "";
    if (points.size() > 1) svg_.polyline(points, "series" + kind);
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const Estimate accuracy = *steps[i].tally.accuracy();
      svg_.open_group("step", step_title(figures, facets_[facet], steps[i], accuracy), figures.label());
      svg_.line({points[i].x, y_of(row, accuracy.low)}, {points[i].x, y_of(row, accuracy.high)}, "whisker best" + kind);
      svg_.circle(points[i], 2.7, "dot small best" + kind);
      svg_.close_group();
    }
  }

  static std::string step_title(const RecipeFigures& figures, const Facet& facet, const Step& step,
                                const Estimate& accuracy) {
    const std::string place = facet.by_turn ? "turn " + std::to_string(step.place)
                                            : "fifth " + std::to_string(step.place + 1) + " of the context";
    return figures.label() + ", " + std::string(facet.mode) + ", " + place + ": " + percent_text(accuracy.value) +
           " % (" + percent_text(accuracy.low) + " to " + percent_text(accuracy.high) + ") of " +
           count_text(step.tally.items);
  }

  void draw_foot(std::size_t facet, double y) {
    const Facet& shown = facets_[facet];
    const double middle = left(facet) + panel_width() / 2;
    for (const std::uint64_t place : shown.places) {
      if (shown.places.size() > 10 && place != shown.places.front() && place != shown.places.back()) continue;
      svg_.text({x_of(facet, place), y}, std::to_string(shown.by_turn ? place : place + 1), "tick", Anchor::kMiddle);
    }
    svg_.text({middle, y + 20}, shown.by_turn ? "turn" : "fifth of the context, 1: oldest", "tick", Anchor::kMiddle);
  }

  std::vector<const RecipeFigures*> recipes_;
  std::vector<Facet> facets_;
  SvgCanvas svg_;
};

}  // namespace

std::string lines_svg(const std::string& id, const ModelGroup& group) {
  std::vector<const RecipeFigures*> recipes;
  for (const RecipeFigures& figures : group.recipes) {
    if (figures.suite && figures.asked_the_same()) recipes.push_back(&figures);
  }
  return recipes.empty() ? std::string() : Lines(id, std::move(recipes)).draw();
}

}  // namespace cairn
