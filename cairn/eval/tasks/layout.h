// SPDX-License-Identifier: Apache-2.0
// Where in a context things stand. Questions are stratified by depth: the turns of a session ask for all five fifths of
// the context, measured in bytes, in random order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cairn/base/random.h"

namespace cairn {

inline constexpr std::uint32_t kFifths = 5;

// A depth for every turn; any five in a row are all different.
std::vector<std::uint32_t> draw_depths(std::size_t turns, SeededRandom& random);

// The fifth in which byte `at` of a context of `size` bytes lies. Requires: at < size.
std::uint32_t depth_of(std::size_t at, std::size_t size);
// Whether it lies in that fifth and not at its edge, so that a few bytes more or less in the context change nothing.
bool safely_inside(std::size_t at, std::size_t size, std::uint32_t depth);

// A piece of a context that is not torn apart. `focus` is the byte of it that decides its depth.
struct TextUnit {
  std::string text;
  std::size_t focus = 0;
};
// With the focus in its middle.
TextUnit unit_of(std::string text);

// An order of the units in which unit i stands at depth wanted[i], safely inside its fifth, if that is not empty. The
// others spread evenly. One random try, which fails more often the fewer units there are.
std::optional<std::vector<std::size_t>> try_place(std::span<const TextUnit> units,
                                                  std::span<const std::optional<std::uint32_t>> wanted,
                                                  SeededRandom& random);

struct Placement {
  std::vector<std::size_t> order;     // of the units in the context
  std::vector<std::uint32_t> depths;  // of the first `turns` units, in their order
};
// Places the first `turns` units, one question each, at depths of draw_depths. Empty: too few units for that.
std::optional<Placement> place_questions(std::span<const TextUnit> units, std::size_t turns, SeededRandom& random);

inline constexpr int kPlacementTries = 400;

}  // namespace cairn
