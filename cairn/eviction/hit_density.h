// SPDX-License-Identifier: Apache-2.0
// How many hits a block still promises per unit of time that it stays, learned from what happened to blocks of its
// class.
//
// For each class and age the rate of reuse is hits over time at risk. The worth of a block is its Gittins index: the
// best ratio, over all times to give up, of the chance to be hit by then and the time it will have been kept. That is
// what a cache under pressure should order by, and it is not monotone in age: a block that waits for its user to think
// is worth more after a while than at once. LHD (Beckmann et al., NSDI 2018) orders by a like ratio with one horizon.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace cairn {

// Time has any unit. Thread-compatible.
class HitDensity {
 public:
  static constexpr std::size_t kBins = 36;  // of age: half octaves from 16 on, the last one open

  explicit HitDensity(std::size_t classes);

  static std::size_t bin(std::uint64_t age);
  static std::uint64_t bin_begin(std::size_t bin);  // the least age in it

  void hit(std::size_t of_class, std::uint64_t age) { cell(of_class, bin(age)).hits += 1; }
  void kept(std::size_t of_class, std::uint64_t age, double time) { cell(of_class, bin(age)).time += time; }

  // Makes worth() follow what was told since, and weighs the older past less. O(classes * kBins^2).
  void learn(double elapsed);
  double worth(std::size_t of_class, std::size_t bin) const { return worth_[of_class * kBins + bin]; }

 private:
  struct Cell {
    double hits = 0, time = 0;
  };
  using Rates = std::array<double, kBins>;

  Cell& cell(std::size_t of_class, std::size_t bin) { return cells_[of_class * kBins + bin]; }
  Rates common_rates() const;
  Rates class_rates(std::size_t of_class, const Rates& common) const;

  std::size_t classes_;
  std::vector<Cell> cells_;
  std::vector<double> worth_;
};

}  // namespace cairn
