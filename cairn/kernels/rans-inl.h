// SPDX-License-Identifier: Apache-2.0
// The definition of read_symbols, one state at a time. Included once per set, hence the unnamed namespace.
#pragma once

#include "cairn/kernels/args.h"

namespace cairn {
namespace {

// Sixteen symbols, one for each state.
inline bool read_few_symbols(const std::uint32_t* slots, RansWords& words, std::uint8_t* symbols) {
  for (std::uint32_t s = 0; s < kRansStates; ++s) {
    std::uint32_t state = words.states[s];
    const std::uint32_t slot = slots[state & ((1u << kRansBits) - 1)];
    symbols[s] = static_cast<std::uint8_t>(slot >> 24);
    state = ((slot >> 12 & 0xfff) + 1) * (state >> kRansBits) + (slot & 0xfff);
    if (state < kRansLow) {
      if (words.next == words.end) return false;
      state = state << 16 | *words.next++;
    }
    words.states[s] = state;
  }
  return true;
}

inline bool read_symbols_plain(const std::uint32_t* slots, std::uint32_t count, RansWords& words,
                               std::uint8_t* symbols) {
  for (std::uint32_t i = 0; i < count; i += kRansStates) {
    if (!read_few_symbols(slots, words, symbols + i)) return false;
  }
  return true;
}

}  // namespace
}  // namespace cairn
