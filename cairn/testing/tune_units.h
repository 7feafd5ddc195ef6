// SPDX-License-Identifier: Apache-2.0
// Random units small enough to try every plan, and the functions that do so.
#pragma once

#include <rapidcheck.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "cairn/tune/choice.h"

namespace cairn::testing {

using tune::Allocation;
using tune::Choice;
using tune::Unit;

// In the whole range, however small RapidCheck would like to begin.
template <class T>
T any(T low, T high) {
  return *rc::gen::resize(rc::kNominalSize, rc::gen::inRange<T>(low, high));
}

// Bytes have a common step, as pages do; errors are ordinary, of few values so that ties are common, or so far apart
// that small ones vanish in a sum. In most units more bytes mean less error.
inline std::vector<Unit> any_units(int max_units = 5, int max_choices = 4) {
  const auto step = *rc::gen::element<std::uint64_t>(1, 64, 4096);
  const int kind = any(0, 3);
  std::vector<Unit> units(static_cast<std::size_t>(any(1, max_units + 1)));
  for (std::size_t u = 0; u < units.size(); ++u) {
    std::vector<double> errors;
    for (int c = any(1, max_choices + 1); c > 0; --c) {
      const int raw = any(0, kind == 1 ? 4 : 1000);
      errors.push_back(kind == 2 ? std::ldexp(raw, any(-70, 1)) : raw / 7.0);
    }
    const bool sorted = any(0, 4) != 0;
    if (sorted) std::ranges::sort(errors, std::ranges::greater{});
    units[u].name = "unit " + std::to_string(u);
    std::uint64_t steps = 0;
    for (std::size_t c = 0; c < errors.size(); ++c) {
      steps = sorted ? steps + any<std::uint64_t>(0, 5) : any<std::uint64_t>(0, 12);
      units[u].choices.push_back({"c" + std::to_string(c), step * steps, 0, errors[c]});
    }
  }
  return units;
}

inline std::vector<Allocation> every_plan(const std::vector<Unit>& units) {
  std::vector<Allocation> plans;
  std::vector<std::size_t> picks(units.size(), 0);
  while (true) {
    plans.push_back({picks, total_cost(units, picks)});
    std::size_t u = 0;
    while (u < units.size() && ++picks[u] == units[u].choices.size()) picks[u++] = 0;
    if (u == units.size()) return plans;
  }
}

// A cap that some plans exceed and others do not, now and then none or all.
inline std::uint64_t any_cap(const std::vector<Unit>& units) {
  std::uint64_t max_bytes = 0;
  for (const Unit& unit : units) max_bytes += std::ranges::max(unit.choices, {}, &Choice::bytes).bytes;
  return any<std::uint64_t>(0, max_bytes + 2);
}

// By ascending error, then bytes.
inline std::vector<Allocation> plans_that_fit(const std::vector<Unit>& units, std::uint64_t max_bytes) {
  std::vector<Allocation> plans = every_plan(units);
  std::erase_if(plans, [&](const Allocation& plan) { return plan.cost.bytes > max_bytes; });
  std::ranges::stable_sort(plans, [](const Allocation& a, const Allocation& b) {
    return a.cost.error != b.cost.error ? a.cost.error < b.cost.error : a.cost.bytes < b.cost.bytes;
  });
  return plans;
}

}  // namespace cairn::testing
