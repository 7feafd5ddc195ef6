// SPDX-License-Identifier: Apache-2.0
// Seeded random inputs for tests and benches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace cairn::testing {

inline std::vector<float> random_floats(std::size_t count, std::uint32_t seed, float scale = 1.0f) {
  std::mt19937 bits(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> values(count);
  for (float& value : values) value = normal(bits);
  return values;
}

inline std::vector<std::byte> random_bytes(std::size_t count, std::uint32_t seed) {
  std::mt19937 bits(seed);
  std::vector<std::byte> values(count);
  for (std::byte& value : values) value = static_cast<std::byte>(bits() & 0xff);
  return values;
}

}  // namespace cairn::testing
