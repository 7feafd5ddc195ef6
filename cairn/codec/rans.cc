// SPDX-License-Identifier: Apache-2.0
#include "cairn/codec/rans.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cairn/base/check.h"

namespace cairn::rans {
namespace {

// States stay in [kLow, kLow << 16): a word goes out or comes in at a time.
constexpr std::uint32_t kLow = 1u << 16;
constexpr std::uint32_t kWordBits = 16;

}  // namespace

bool is_table(std::span<const std::uint16_t, kSymbols> frequencies) {
  return std::accumulate(frequencies.begin(), frequencies.end(), std::uint64_t{0}) == kTotal;
}

Table::Table(std::span<const std::uint16_t, kSymbols> frequencies) {
  CAIRN_CHECK(is_table(frequencies));
  std::uint32_t first = 0;
  for (std::uint32_t symbol = 0; symbol < kSymbols; ++symbol) {
    const std::uint32_t frequency = frequencies[symbol];
    frequencies_[symbol] = static_cast<std::uint16_t>(frequency);
    firsts_[symbol] = static_cast<std::uint16_t>(first);
    for (std::uint32_t i = 0; i < frequency; ++i) slots_[first + i] = symbol << 24 | (frequency - 1) << 12 | i;
    first += frequency;
  }
}

std::array<std::uint16_t, kSymbols> frequencies_of(std::span<const double, kSymbols> counts, std::uint32_t always) {
  const double total = std::accumulate(counts.begin(), counts.end(), 0.0);
  CAIRN_CHECK(total > 0);
  std::array<std::uint16_t, kSymbols> frequencies{};
  std::uint32_t given = 0;
  for (std::uint32_t symbol = 0; symbol < kSymbols; ++symbol) {
    if (counts[symbol] <= 0 && symbol != always) continue;
    const double share = std::floor(counts[symbol] / total * kTotal);
    frequencies[symbol] = static_cast<std::uint16_t>(std::max(share, 1.0));
    given += frequencies[symbol];
  }
  // What rounding left goes to the commonest symbol, which it changes least; or comes from it.
  std::uint16_t& most = *std::ranges::max_element(frequencies);
  most = static_cast<std::uint16_t>(most + kTotal - given);
  return frequencies;
}

Coded Writer::finish() const {
  CAIRN_CHECK(steps_.size() % kStates == 0);
  Coded coded;
  coded.states.fill(kLow);
  for (std::size_t i = steps_.size(); i-- > 0;) {
    const Step step = steps_[i];
    std::uint32_t& state = coded.states[i % kStates];
    const std::uint64_t limit = std::uint64_t{kLow >> kFrequencyBits << kWordBits} * step.frequency;
    if (state >= limit) {
      coded.words.push_back(static_cast<std::uint16_t>(state));
      state >>= kWordBits;
    }
    state = state / step.frequency * kTotal + state % step.frequency + step.first;
  }
  std::ranges::reverse(coded.words);
  return coded;
}

void Reader::get(const Table& table, std::uint32_t count, std::uint8_t* symbols) {
  for (std::uint32_t i = 0; i < count; i += kStates) {
    for (std::uint32_t s = 0; s < kStates; ++s) {
      std::uint32_t state = states_[s];
      const std::uint32_t slot = table.slots_[state & (kTotal - 1)];
      symbols[i + s] = static_cast<std::uint8_t>(slot >> 24);
      state = ((slot >> 12 & 0xfff) + 1) * (state >> kFrequencyBits) + (slot & 0xfff);
      if (state < kLow) {
        if (next_ == end_) {
          short_ = true;
          state = kLow;
        } else {
          state = state << kWordBits | *next_++;
        }
      }
      states_[s] = state;
    }
  }
}

bool Reader::finished() const {
  return !short_ && next_ == end_ && std::ranges::all_of(states_, [](std::uint32_t state) { return state == kLow; });
}

}  // namespace cairn::rans
