// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>

#include "apps/cairn/replay/replay_report.h"
#include "apps/cairn/replay/svg_plot.h"

namespace cairn::cli {
namespace {

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
