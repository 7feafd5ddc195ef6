// SPDX-License-Identifier: Apache-2.0
#include "cairn/tune/breeding.h"

#include <algorithm>

namespace cairn {
namespace {

// Depth first over the units; `floor[u]` is what the units from u on need at least, so that every branch that is
// entered has a plan that fits at its end.
struct Listing {
  std::span<const Unit> units;
  std::vector<std::uint64_t> floor;
  std::size_t most;
  std::vector<Picks> found;
  Picks picks;

  bool list(std::uint64_t left) {
    const std::size_t u = picks.size();
    if (u == units.size()) {
      found.push_back(picks);
      return found.size() <= most;
    }
    for (std::size_t c = 0; c < units[u].choices.size(); ++c) {
      const std::uint64_t bytes = units[u].choices[c].bytes;
      if (bytes > left || floor[u + 1] > left - bytes) break;
      picks.push_back(c);
      const bool room = list(left - bytes);
      picks.pop_back();
      if (!room) return false;
    }
    return true;
  }
};

}  // namespace

std::vector<Picks> Breeding::all_that_fit(std::size_t most) const {
  Listing listing{units_, std::vector<std::uint64_t>(units_.size() + 1), most, {}, {}};
  for (std::size_t u = units_.size(); u-- > 0;) {
    listing.floor[u] = listing.floor[u + 1] + units_[u].choices.front().bytes;
  }
  if (!listing.list(max_bytes_)) return {};
  return std::move(listing.found);
}

Picks Breeding::anything() {
  double low = random_.unit(), high = random_.unit();
  if (low > high) std::swap(low, high);
  Picks picks;
  for (const Unit& unit : units_) {
    const double at = low + (high - low) * random_.unit();
    picks.push_back(static_cast<std::size_t>(at * static_cast<double>(unit.choices.size())));
  }
  return shrunk(std::move(picks));
}

Picks Breeding::child(const Picks& a, const Picks& b) {
  Picks picks = a;
  for (std::size_t u = 0; u < picks.size(); ++u) {
    if (random_.below(2) == 0) picks[u] = b[u];
    if (random_.below(picks.size()) != 0) continue;
    const std::size_t last = units_[u].choices.size() - 1;
    const bool up = random_.below(2) == 0;
    if (up && picks[u] < last) ++picks[u];
    if (!up && picks[u] > 0) --picks[u];
  }
  return shrunk(std::move(picks));
}

Picks Breeding::stepped(Picks picks) {
  const std::size_t u = random_.below(picks.size());
  const bool up = random_.below(2) == 0;
  if (up && picks[u] + 1 < units_[u].choices.size()) ++picks[u];
  if (!up && picks[u] > 0) --picks[u];
  return shrunk(std::move(picks));
}

Picks Breeding::shrunk(Picks picks) {
  std::uint64_t bytes = total_cost(units_, picks).bytes;
  while (bytes > max_bytes_) {
    const std::size_t u = random_.below(picks.size());
    if (picks[u] == 0) continue;
    bytes -= units_[u].choices[picks[u]].bytes;
    bytes += units_[u].choices[--picks[u]].bytes;
  }
  return picks;
}

}  // namespace cairn
