// SPDX-License-Identifier: Apache-2.0
// Which axes of a head share a code, for codec `axes`: what each way costs, and the choice over all heads of a model.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cairn/block/shape.h"
#include "cairn/kernels/codes.h"

namespace cairn::train {

// One way to share the codes of a head. A value.
struct SharesChoice {
  std::array<std::uint8_t, kShareKinds> shares{};
  std::vector<std::uint32_t> axes;  // [head_dim]: which axis, by falling variance, each channel of the table is
  std::uint32_t codes = 0;          // of a token
  double distortion = 0;            // expected squared error, in the units of the variance
};

// All ways that make up the head, the one without sharing first. variance: of each axis, falling. Requires: as many
// axes as axes_takes() allows.
std::vector<SharesChoice> shares_choices(std::span<const double> variance, PageSlot slot);

// The one with the fewest codes of those whose codes stand for four axes at most: about one bit.
std::size_t coarse_choice(std::span<const SharesChoice> choices);

// A head to choose for: its choices, and what a unit of their distortion costs.
struct HeadChoices {
  std::vector<SharesChoice> choices;
  double cost = 1;
};

// The choice for each head with the least cost of all, at most `max_codes` codes of a token altogether: along the lower
// convex hull of each head, so a last few codes may stay unused. The fewest codes where even they are too many.
std::vector<std::size_t> choose_shares(std::span<const HeadChoices> heads, std::size_t max_codes);

}  // namespace cairn::train
