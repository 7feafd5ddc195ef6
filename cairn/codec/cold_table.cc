// SPDX-License-Identifier: Apache-2.0
#include "cairn/codec/cold_table.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

namespace cairn::cold {
namespace {

// Half octaves that steps are finer for each octave of saliency. It is an estimate that is right for about half of what
// differs between tokens, and finer steps cost bits: from 0.7 to 1 makes no difference on SmolLM2, 1.3 is worse.
constexpr float kFiner = 0.7f;

std::unexpected<Error> wrong(const std::string& what) {
  return fail(ErrorCode::kCorrupt, "a table of the cold form is wrong: " + what);
}

bool all_finite(std::span<const float> values) {
  return std::ranges::all_of(values, [](float value) { return std::isfinite(value); });
}

}  // namespace

std::uint32_t scale_symbol(float saliency) {
  const float halves = std::clamp(std::nearbyint(kFiner * saliency), static_cast<float>(kLeastScale),
                                  static_cast<float>(kGreatestScale));
  return static_cast<std::uint32_t>(kScaleMiddle + static_cast<std::int32_t>(halves));
}

// By products that are exact but for one.
float scale_of(std::uint32_t symbol) {
  const std::int32_t halves = static_cast<std::int32_t>(symbol) - kScaleMiddle;
  const float octaves = std::ldexp(1.0f, halves >> 1);
  return (halves & 1) != 0 ? octaves * 1.41421356f : octaves;
}

TableView TableView::of(PageShape shape, const std::byte* table) {
  const TablePlaces at = TablePlaces::of(shape);
  TableView view;
  std::memcpy(&view.axes, table, sizeof view.axes);
  std::memcpy(&view.shift, table + sizeof view.axes, sizeof view.shift);
  view.mean = reinterpret_cast<const float*>(table + at.mean);
  view.saliency = reinterpret_cast<const float*>(table + at.saliency);
  view.forward = reinterpret_cast<const float*>(table + at.forward);
  view.back = reinterpret_cast<const float*>(table + at.back);
  view.counts = reinterpret_cast<const std::uint16_t*>(table + at.counts);
  return view;
}

Status check_shape(PageShape shape) {
  const std::uint32_t n = width_of(shape);
  if (shape.has_value_pages() && n % kAxesUnit == 0 && n <= kMaxWidth) return {};
  return fail(ErrorCode::kUnsupported,
              "a cold form takes keys and values of their own with a multiple of " + std::to_string(kAxesUnit) +
                  " channels, at most " + std::to_string(kMaxWidth) + ", in all KV heads together; this model has " +
                  std::to_string(n) + (shape.has_value_pages() ? "" : " in which the values lie in the keys"));
}

Status check_table(PageShape shape, std::span<const std::byte> table) {
  const TablePlaces at = TablePlaces::of(shape);
  if (table.size() != at.end) return wrong("it has " + std::to_string(table.size()) + " bytes");
  const TableView view = TableView::of(shape, table.data());
  const std::uint32_t n = width_of(shape);
  if (view.axes > n || view.axes % kAxesUnit != 0) return wrong("it keeps " + std::to_string(view.axes) + " axes");
  if (!all_finite({view.mean, (at.counts - at.mean) / sizeof(float)}) || !(std::fabs(view.shift) <= 0.5f)) {
    return wrong("it holds what is not a finite number, or a shift of more than half a step");
  }
  for (std::uint32_t run = 0; run < view.runs(); ++run) {
    if (!rans::is_table(view.run(run)))
      return wrong("the frequencies of run " + std::to_string(run) + " do not sum up");
    if (run > 0 && view.run(run).back() == 0) return wrong("run " + std::to_string(run) + " cannot code what is rare");
  }
  for (std::int32_t halves = kLeastScale; halves <= kGreatestScale; ++halves) {
    if (view.run(0)[static_cast<std::size_t>(kScaleMiddle + halves)] == 0) return wrong("it cannot code every scale");
  }
  return {};
}

}  // namespace cairn::cold
