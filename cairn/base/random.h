// SPDX-License-Identifier: Apache-2.0
// Random numbers that are the same on every machine and in every build, unlike those of the standard's distributions.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "cairn/base/check.h"

namespace cairn {

// SplitMix64 over a state that begins with a hash of what the numbers are for. Thread-compatible value.
class SeededRandom {
 public:
  explicit SeededRandom(std::uint64_t seed) : state_(seed) {}

  // A stream of its own for every purpose.
  SeededRandom(std::uint64_t seed, std::string_view purpose, std::uint64_t a = 0, std::uint64_t b = 0) : state_(seed) {
    for (const char c : purpose) mix(static_cast<unsigned char>(c));
    mix(a);
    mix(b);
  }

  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15u;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  // Uniform in [0, n); the bias is below n / 2^64. Requires: n > 0.
  std::size_t below(std::size_t n) {
    CAIRN_DCHECK(n > 0);
    return static_cast<std::size_t>((static_cast<unsigned __int128>(next()) * n) >> 64);
  }
  // Uniform in [low, high].
  int between(int low, int high) { return low + static_cast<int>(below(static_cast<std::size_t>(high - low) + 1)); }
  // Uniform in [0, 1).
  double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }

  template <class T>
  const T& pick(std::span<const T> from) {
    return from[below(from.size())];
  }
  template <class T>
  const T& pick(const std::vector<T>& from) {
    return from[below(from.size())];
  }
  template <class T>
  void shuffle(std::vector<T>& items) {
    for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
  }

 private:
  void mix(std::uint64_t value) {
    state_ ^= value;
    state_ = next();
  }

  std::uint64_t state_;
};

}  // namespace cairn
