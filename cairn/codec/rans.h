// SPDX-License-Identifier: Apache-2.0
// Entropy coding of symbols whose frequencies are known beforehand: range asymmetric numeral systems (Duda 2013) in
// integers alone, so that every machine writes and reads the same bits. Sixteen states take turns, one for each lane of
// a vector: symbol i belongs to state i mod 16.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cairn/kernels/args.h"

namespace cairn::rans {

inline constexpr std::uint32_t kStates = kRansStates;
inline constexpr std::uint32_t kSymbols = 64;
inline constexpr std::uint32_t kTotal = 1u << kRansBits;  // of the frequencies of a table

// Frequencies of the symbols of one alphabet, and what turns them into bits and back. A value; immutable once made.
class Table {
 public:
  // Requires: is_table(frequencies).
  explicit Table(std::span<const std::uint16_t, kSymbols> frequencies);

  bool has(std::uint32_t symbol) const { return frequencies_[symbol] != 0; }

 private:
  friend class Writer;
  friend class Reader;

  // By a state's low bits, as Kernels::read_symbols takes them.
  std::array<std::uint32_t, kTotal> slots_;
  std::array<std::uint16_t, kSymbols> frequencies_, firsts_;
};

// Whether these sum to kTotal.
bool is_table(std::span<const std::uint16_t, kSymbols> frequencies);

// Frequencies for symbols that were seen so often; those that were not get none, save `always`. Requires: some count.
std::array<std::uint16_t, kSymbols> frequencies_of(std::span<const double, kSymbols> counts, std::uint32_t always);

// States as they begin, and the words that follow them.
struct Coded {
  std::array<std::uint32_t, kStates> states;
  std::vector<std::uint16_t> words;
};

// Takes the symbols in the order in which they will be read; codes them backwards at the end. Thread-compatible.
class Writer {
 public:
  explicit Writer(std::size_t symbols) { steps_.reserve(symbols); }  // about so many

  // Requires: table.has() of each.
  void put(const Table& table, std::span<const std::uint8_t> symbols);
  Coded finish() const;

 private:
  struct Step {
    std::uint16_t first, frequency;
  };
  std::vector<Step> steps_;
};

// Reads what a Writer wrote, a multiple of kStates symbols at a time. Any states and words will do: then the symbols
// are wrong, and finished() says so or not. Thread-compatible; `words` must outlive it.
class Reader {
 public:
  Reader(const std::array<std::uint32_t, kStates>& states, std::span<const std::uint16_t> words);

  // Requires: count is a multiple of kStates.
  void get(const Table& table, std::uint32_t count, std::uint8_t* symbols);
  // Whether all has been read, and the states are where the writer began.
  bool finished() const;

 private:
  RansWords words_;
  bool short_ = false;  // words were missing
};

}  // namespace cairn::rans
