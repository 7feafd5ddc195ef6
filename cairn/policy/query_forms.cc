// SPDX-License-Identifier: Apache-2.0
#include "cairn/policy/query_forms.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace cairn {

void probe_query(std::span<const float* const> window, std::uint32_t dim, float* probe) {
  const auto count = static_cast<double>(window.size());
  std::vector<double> biases(window.size());
  for (std::uint32_t c = 0; c < dim; ++c) {
    double mean = 0, variance = 0;
    for (const float* q : window) mean += static_cast<double>(q[c]);
    mean /= count;
    for (const float* q : window) variance += (static_cast<double>(q[c]) - mean) * (static_cast<double>(q[c]) - mean);
    variance /= count;
    if (!(variance > 0)) continue;
    for (std::size_t i = 0; i < window.size(); ++i) {
      const double deviation = static_cast<double>(window[i][c]) - mean;
      biases[i] += deviation * deviation / variance / static_cast<double>(dim);
    }
  }
  const double greatest = std::ranges::max(biases);
  double sum = 0;
  for (double& bias : biases) sum += bias = std::exp(bias - greatest);
  for (std::uint32_t c = 0; c < dim; ++c) {
    double value = 0;
    for (std::size_t i = 0; i < window.size(); ++i) value += biases[i] / sum * static_cast<double>(window[i][c]);
    probe[c] = static_cast<float>(value);
  }
}

void leave_top_channels(std::span<float> q, std::uint32_t dim, std::uint32_t count) {
  std::vector<double> magnitudes(dim);
  for (std::size_t i = 0; i < q.size(); ++i) magnitudes[i % dim] += std::abs(static_cast<double>(q[i]));
  std::vector<std::uint32_t> order(dim);
  std::iota(order.begin(), order.end(), 0u);
  std::ranges::stable_sort(order, [&](std::uint32_t a, std::uint32_t b) { return magnitudes[a] > magnitudes[b]; });
  std::vector<bool> stays(dim);
  for (std::uint32_t i = 0; i < std::min(count, dim); ++i) stays[order[i]] = true;
  for (std::size_t head = 0; head < q.size() / dim; ++head) {
    const std::span<float> own = q.subspan(head * dim, dim);
    double all = 0, left = 0;
    for (std::uint32_t c = 0; c < dim; ++c) {
      const double magnitude = std::abs(static_cast<double>(own[c]));
      all += magnitude;
      if (stays[c]) left += magnitude;
    }
    const auto scale = static_cast<float>(left > 0 ? std::sqrt(all / left) : 1.0);
    for (std::uint32_t c = 0; c < dim; ++c) own[c] = stays[c] ? own[c] * scale : 0.0f;
  }
}

}  // namespace cairn
