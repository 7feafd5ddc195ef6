// SPDX-License-Identifier: Apache-2.0
// Test support: tables of a cold form that suit normally distributed keys and values, on random axes.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "cairn/block/shape.h"
#include "cairn/codec/codebooks.h"
#include "cairn/codec/cold_table.h"
#include "cairn/testing/random.h"

namespace cairn::testing {

struct ColdTableSpec {
  std::uint32_t axes = 0;  // 0: all
  float step = 0.5f;
  float saliency = 0.0f;  // of each channel
};

// Orthogonal axes by Gram and Schmidt, all with the same step; frequencies of a normal distribution.
inline std::vector<std::byte> make_cold_table(PageShape shape, ColdTableSpec spec = {}, std::uint32_t seed = 1) {
  const std::uint32_t n = cold::width_of(shape), axes = spec.axes == 0 ? n : spec.axes;
  const cold::TablePlaces at = cold::TablePlaces::of(shape);
  std::vector<std::byte> table(at.end);
  const auto put = [&](std::size_t to, auto value) { std::memcpy(table.data() + to, &value, sizeof value); };
  const std::vector<float> noise = random_floats(std::size_t{n} * n + n, seed);
  std::vector<std::vector<double>> basis;
  for (std::uint32_t i = 0; i < n; ++i) {
    std::vector<double> axis(noise.begin() + i * n, noise.begin() + (i + 1) * n);
    axis[i] += 1.0;
    for (int twice = 0; twice < 2; ++twice) {
      for (const auto& before : basis) {
        double product = 0;
        for (std::uint32_t d = 0; d < n; ++d) product += axis[d] * before[d];
        for (std::uint32_t d = 0; d < n; ++d) axis[d] -= product * before[d];
      }
    }
    double length = 0;
    for (const double value : axis) length += value * value;
    for (double& value : axis) value /= std::sqrt(length);
    basis.push_back(axis);
  }
  put(0, axes);
  put(4, 0.0f);
  for (std::uint32_t d = 0; d < n; ++d) {
    put(at.mean + 4 * d, 0.1f * noise[std::size_t{n} * n + d]);
    put(at.saliency + 4 * d, spec.saliency);
    for (std::uint32_t i = 0; i < axes; ++i) {
      put(at.forward + 4 * (std::size_t{d} * axes + i), static_cast<float>(basis[i][d]) / spec.step);
      put(at.back + 4 * (std::size_t{i} * n + d), static_cast<float>(basis[i][d]) * spec.step);
    }
  }
  for (std::uint32_t run = 0; run < 1 + axes / cold::kRunAxes; ++run) {
    std::array<double, rans::kSymbols> counts{};
    for (std::uint32_t s = 0; s < rans::kSymbols; ++s) {
      const double code = static_cast<double>(s) - 31;
      counts[s] = run == 0 ? 1.0 : std::exp(-code * code * spec.step * spec.step / 2);
    }
    if (run > 0) counts.back() = 0;
    const auto frequencies = rans::frequencies_of(counts, run == 0 ? 0 : rans::kSymbols - 1);
    std::memcpy(table.data() + at.counts + run * sizeof frequencies, frequencies.data(), sizeof frequencies);
  }
  return table;
}

inline Result<Codebooks> make_cold_tables(const Digest& model, std::uint32_t layers, PageShape shape,
                                          ColdTableSpec spec = {}) {
  std::vector<std::vector<std::byte>> tables;
  for (std::uint32_t i = 0; i < kPageSlots.size() * layers; ++i) tables.push_back(make_cold_table(shape, spec, i + 1));
  return Codebooks::make(model, cold::kTableId, shape, std::move(tables));
}

}  // namespace cairn::testing
