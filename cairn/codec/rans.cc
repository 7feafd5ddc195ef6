// SPDX-License-Identifier: Apache-2.0
#include "cairn/codec/rans.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cairn/base/check.h"
#include "cairn/kernels/kernels.h"

namespace cairn::rans {
namespace {

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

void Writer::put(const Table& table, std::span<const std::uint8_t> symbols) {
  for (const std::uint8_t symbol : symbols) {
    steps_.push_back({table.firsts_[symbol], table.frequencies_[symbol]});
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
  coded.states.fill(kRansLow);
  coded.words.resize(steps_.size());  // at most one each; filled from the end
  std::uint16_t* const end = coded.words.data() + coded.words.size();
  std::uint16_t* words = end;
  for (std::size_t i = steps_.size(); i-- > 0;) {
    const Step step = steps_[i];
    std::uint32_t state = coded.states[i % kStates];
    // Without a branch: which states let go of a word is as good as random.
    const bool full = state >> (32 - kRansBits) >= step.frequency;
    words[-1] = static_cast<std::uint16_t>(state);
    words -= full ? 1 : 0;
    state >>= full ? kWordBits : 0;
    coded.states[i % kStates] = state / step.frequency * kTotal + state % step.frequency + step.first;
  }
  coded.words.erase(coded.words.begin(), coded.words.begin() + (words - coded.words.data()));
  return coded;
}

Reader::Reader(const std::array<std::uint32_t, kStates>& states, std::span<const std::uint16_t> words)
    : words_{.states = {}, .next = words.data(), .end = words.data() + words.size()} {
  std::ranges::copy(states, words_.states);
}

void Reader::get(const Table& table, std::uint32_t count, std::uint8_t* symbols) {
  if (kernels().read_symbols(table.slots_.data(), count, words_, symbols)) return;
  short_ = true;
  std::fill_n(symbols, count, std::uint8_t{0});
}

bool Reader::finished() const {
  return !short_ && words_.next == words_.end &&
         std::ranges::all_of(words_.states, [](std::uint32_t state) { return state == kRansLow; });
}

}  // namespace cairn::rans
