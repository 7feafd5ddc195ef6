// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/tasks/layout.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

#include "cairn/base/check.h"

namespace cairn {
namespace {

// In shares of the context. What is added later (the blank line at the end, the numbers of documents) must not carry a
// question over the edge of its fifth.
constexpr double kMargin = 0.01;

}  // namespace

std::vector<std::uint32_t> draw_depths(std::size_t turns, SeededRandom& random) {
  std::vector<std::uint32_t> order(kFifths), depths;
  std::iota(order.begin(), order.end(), 0u);
  random.shuffle(order);
  for (std::size_t turn = 0; turn < turns; ++turn) depths.push_back(order[turn % kFifths]);
  return depths;
}

std::uint32_t depth_of(std::size_t at, std::size_t size) {
  CAIRN_CHECK(at < size);
  return static_cast<std::uint32_t>(at * kFifths / size);
}

bool safely_inside(std::size_t at, std::size_t size, std::uint32_t depth) {
  const double share = static_cast<double>(at) / static_cast<double>(size);
  const double low = static_cast<double>(depth) / kFifths, high = static_cast<double>(depth + 1) / kFifths;
  return share >= (depth == 0 ? 0 : low + kMargin) && share < (depth + 1 == kFifths ? 1 : high - kMargin);
}

TextUnit unit_of(std::string text) {
  const std::size_t middle = text.size() / 2;
  return {std::move(text), middle};
}

std::optional<std::vector<std::size_t>> try_place(std::span<const TextUnit> units,
                                                  std::span<const std::optional<std::uint32_t>> wanted,
                                                  SeededRandom& random) {
  CAIRN_CHECK(units.size() == wanted.size());
  std::array<std::vector<std::size_t>, kFifths> fifths;
  std::array<std::size_t, kFifths> filled{};
  std::vector<std::size_t> free;
  std::size_t total = 0;
  const auto put = [&](std::size_t unit, std::size_t fifth) {
    fifths[fifth].push_back(unit);
    filled[fifth] += units[unit].text.size();
  };
  for (std::size_t i = 0; i < units.size(); ++i) {
    total += units[i].text.size();
    wanted[i] ? put(i, *wanted[i]) : free.push_back(i);
  }
  random.shuffle(free);
  for (const std::size_t unit : free) {
    put(unit, static_cast<std::size_t>(std::ranges::min_element(filled) - filled.begin()));
  }
  std::vector<std::size_t> order;
  std::size_t at = 0;
  for (auto& fifth : fifths) {
    random.shuffle(fifth);
    for (const std::size_t unit : fifth) {
      if (wanted[unit] && !safely_inside(at + units[unit].focus, total, *wanted[unit])) return std::nullopt;
      at += units[unit].text.size();
      order.push_back(unit);
    }
  }
  return order;
}

std::optional<Placement> place_questions(std::span<const TextUnit> units, std::size_t turns, SeededRandom& random) {
  CAIRN_CHECK(turns <= units.size());
  std::vector<std::optional<std::uint32_t>> wanted(units.size());
  for (int i = 0; i < kPlacementTries; ++i) {
    const std::vector<std::uint32_t> depths = draw_depths(turns, random);
    std::ranges::copy(depths, wanted.begin());
    if (auto order = try_place(units, wanted, random)) return Placement{*std::move(order), depths};
  }
  return std::nullopt;
}

}  // namespace cairn
