// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/eval/label_placement.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace cairn {
namespace {

constexpr double kDistances[] = {9, 14, 22, 32, 46, 64, 90, 125, 170};
constexpr int kDirections = 16;

// The box whose nearest edge or corner lies `distance` from the point in direction `angle`.
LabelBox candidate(const LabelRequest& request, double distance, double angle) {
  const double dx = std::cos(angle);
  const double dy = std::sin(angle);
  const double x = request.x + distance * dx;
  const double y = request.y + distance * dy;
  const double share_left = (1 - dx) / 2;  // 0: the box begins at x, 1: it ends there
  const double left = std::fabs(dx) < 0.2 ? 0.5 : share_left < 0.5 ? 0.0 : 1.0;
  return {x - left * request.width, y - (1 - dy) / 2 * request.height, request.width, request.height};
}

bool inside(const LabelBox& box, const LabelBox& bounds) {
  return box.x >= bounds.x && box.y >= bounds.y && box.x + box.width <= bounds.x + bounds.width &&
         box.y + box.height <= bounds.y + bounds.height;
}

bool any_overlap(const LabelBox& box, const std::vector<LabelBox>& others, double gap) {
  return std::ranges::any_of(others, [&](const LabelBox& other) { return box.overlaps(other, gap); });
}

// A leader that runs through another label would name the wrong point.
bool leader_crosses(const LabelRequest& request, const LabelBox& box, const std::vector<LabelBox>& labels) {
  const double x = std::clamp(request.x, box.x, box.x + box.width);
  const double y = std::clamp(request.y, box.y, box.y + box.height);
  for (int i = 1; i < 12; ++i) {
    const double share = i / 12.0;
    if (any_overlap({request.x + share * (x - request.x), request.y + share * (y - request.y), 0, 0}, labels, 1)) {
      return true;
    }
  }
  return false;
}

double cost_of(const LabelBox& box, double distance, double angle, const std::vector<LabelBox>& lines) {
  double cost = distance + 12 * std::fabs(std::sin(angle)) + (std::cos(angle) < -0.1 ? 3 : 0);
  for (const LabelBox& line : lines) cost += box.overlaps(line, 1) ? 22 : 0;
  return cost;
}

}  // namespace

bool LabelBox::overlaps(const LabelBox& other, double gap) const {
  return x < other.x + other.width + gap && other.x < x + width + gap && y < other.y + other.height + gap &&
         other.y < y + height + gap;
}

std::vector<std::optional<LabelBox>> place_labels(const std::vector<LabelRequest>& requests, const LabelBox& bounds,
                                                  const std::vector<LabelBox>& marks,
                                                  const std::vector<LabelBox>& lines) {
  std::vector<std::optional<LabelBox>> placed;
  std::vector<LabelBox> taken;
  for (const LabelRequest& request : requests) {
    std::optional<LabelBox> best;
    double best_cost = 0;
    for (const double distance : kDistances) {
      for (int direction = 0; direction < kDirections; ++direction) {
        const double angle = 2 * std::numbers::pi * direction / kDirections;
        const LabelBox box = candidate(request, distance, angle);
        if (!inside(box, bounds) || any_overlap(box, marks, 1) || any_overlap(box, taken, 2)) continue;
        if (leader_crosses(request, box, taken)) continue;
        const double cost = cost_of(box, distance, angle, lines);
        if (best && cost >= best_cost - 1e-9) continue;
        best = box;
        best_cost = cost;
      }
    }
    if (best) taken.push_back(*best);
    placed.push_back(best);
  }
  return placed;
}

}  // namespace cairn
