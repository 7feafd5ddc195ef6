// SPDX-License-Identifier: Apache-2.0
#include "cairn/codec/rans.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "cairn/base/random.h"
#include "cairn/kernels/kernels.h"

namespace cairn::rans {
namespace {

// Counts that fall by a factor from symbol to symbol; some symbols are never seen.
std::array<double, kSymbols> falling(double factor, std::uint32_t seen) {
  std::array<double, kSymbols> counts{};
  for (std::uint32_t s = 0; s < seen; ++s) counts[s] = std::pow(factor, s);
  return counts;
}

std::vector<std::uint8_t> draw(std::span<const std::uint16_t, kSymbols> frequencies, std::size_t count,
                               SeededRandom& random) {
  std::vector<std::uint8_t> symbols;
  for (std::size_t i = 0; i < count; ++i) {
    std::uint64_t slot = random.below(kTotal);
    std::uint8_t symbol = 0;
    while (slot >= frequencies[symbol]) slot -= frequencies[symbol++];
    symbols.push_back(symbol);
  }
  return symbols;
}

TEST(Rans, GivesBackWhatWasPutInCloseToTheEntropy) {
  SeededRandom random(1);
  for (const double factor : {0.01, 0.3, 0.8, 1.0}) {
    for (const std::uint32_t seen : {1u, 2u, 40u, 64u}) {
      const auto frequencies = frequencies_of(falling(factor, seen), 0);
      ASSERT_TRUE(is_table(frequencies));
      const Table table(frequencies);
      const auto symbols = draw(frequencies, 4096, random);
      Writer writer(4096);
      double entropy = 0;
      writer.put(table, symbols);
      for (const std::uint8_t symbol : symbols) {
        entropy -= std::log2(frequencies[symbol] / double{kTotal});
      }
      const Coded coded = writer.finish();
      Reader reader(coded.states, coded.words);
      std::vector<std::uint8_t> read(symbols.size());
      reader.get(table, static_cast<std::uint32_t>(read.size()), read.data());
      EXPECT_EQ(read, symbols);
      EXPECT_TRUE(reader.finished());
      EXPECT_LE(16.0 * static_cast<double>(coded.words.size()), entropy * 1.01 + 16 * kStates);
    }
  }
}

TEST(Rans, EverySetReadsTheSame) {
  SeededRandom random(2);
  const auto flat = frequencies_of(falling(0.9, 64), 0), steep = frequencies_of(falling(0.2, 20), 0);
  const Table tables[] = {Table(flat), Table(steep)};
  // The slots of a table as the kernels take them, written out again.
  const auto slots_of = [](std::span<const std::uint16_t, kSymbols> frequencies) {
    std::vector<std::uint32_t> slots;
    for (std::uint32_t s = 0; s < kSymbols; ++s) {
      for (std::uint32_t i = 0; i < frequencies[s]; ++i) slots.push_back(s << 24 | (frequencies[s] - 1u) << 12 | i);
    }
    return slots;
  };
  const std::vector<std::uint32_t> slots[] = {slots_of(flat), slots_of(steep)};
  for (const std::size_t words_kept : {std::size_t{100000}, std::size_t{37}, std::size_t{1}, std::size_t{0}}) {
    std::vector<std::uint8_t> symbols;
    Writer writer(4096);
    for (std::size_t i = 0; i < 20; ++i) {
      writer.put(tables[i % 2], draw(i % 2 == 0 ? flat : steep, 48, random));
    }
    Coded coded = writer.finish();
    coded.words.resize(std::min(coded.words.size(), words_kept));
    std::vector<std::uint8_t> expected;
    for (const Kernels* set : available_kernels()) {
      RansWords words{.states = {}, .next = coded.words.data(), .end = coded.words.data() + coded.words.size()};
      std::copy(coded.states.begin(), coded.states.end(), words.states);
      std::vector<std::uint8_t> read(20 * 48);
      bool whole = true;
      for (std::size_t i = 0; whole && i < 20; ++i) {
        whole = set->read_symbols(slots[i % 2].data(), 48, words, read.data() + 48 * i);
      }
      EXPECT_EQ(whole, words_kept == 100000);
      if (expected.empty()) expected = read;
      EXPECT_EQ(read, expected) << set->name << " with " << words_kept << " words";
    }
  }
}

TEST(Rans, WhatIsMissingOrTooMuchShows) {
  const auto frequencies = frequencies_of(falling(0.9, 64), 0);
  const Table table(frequencies);
  SeededRandom random(3);
  Writer writer(4096);
  writer.put(table, draw(frequencies, 320, random));
  const Coded coded = writer.finish();
  std::vector<std::uint8_t> read(320);
  const auto finishes = [&](std::vector<std::uint16_t> words) {
    Reader reader(coded.states, words);
    reader.get(table, 320, read.data());
    return reader.finished();
  };
  EXPECT_TRUE(finishes(coded.words));
  auto less = coded.words, more = coded.words;
  less.pop_back();
  more.push_back(7);
  EXPECT_FALSE(finishes(less));
  EXPECT_FALSE(finishes(more));
  EXPECT_FALSE(finishes({}));
}

}  // namespace
}  // namespace cairn::rans
