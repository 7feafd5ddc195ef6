// SPDX-License-Identifier: Apache-2.0
// New plans from nothing or from two others. All that come out fit: too large ones are made smaller, since a plan
// beyond the cap tells a search nothing and is never measured.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cairn/base/random.h"
#include "cairn/tune/choice.h"

namespace cairn {

using Picks = std::vector<std::size_t>;

// Requires: checked units whose choices are by ascending bytes, and that the smallest plan fits. Views the units.
// Thread-compatible.
class Breeding {
 public:
  Breeding(std::span<const Unit> units, std::uint64_t max_bytes, std::uint64_t seed)
      : units_(units), max_bytes_(max_bytes), random_(seed, "plan search") {}

  // Every plan that fits, in lexicographic order; empty when there are more than `most`.
  std::vector<Picks> all_that_fit(std::size_t most) const;

  // Any plan, from a band of choices of its own, so that small, large, uniform and mixed plans all come up.
  Picks anything();
  // Each pick from one parent or the other, and about one of them a step up or down.
  Picks child(const Picks& a, const Picks& b);
  // One random step up or down. Every plan that fits can be reached so.
  Picks stepped(Picks picks);
  // Random steps down until it fits.
  Picks shrunk(Picks picks);

  SeededRandom& random() { return random_; }

 private:
  std::span<const Unit> units_;
  std::uint64_t max_bytes_;
  SeededRandom random_;
};

}  // namespace cairn
