// SPDX-License-Identifier: Apache-2.0
#include "cairn/train/cold_signals.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace cairn::train {
namespace {

// Queries that weights are looked at for: one in so many, once that many tokens lie before them.
constexpr std::size_t kQueryStep = 8, kFirstQuery = 64;
// Tokens this near draw attention for where they stand, not for what they are.
constexpr std::size_t kNear = 32;
// Distances at which a query is thought to meet keys: so many shares of what lies before it.
constexpr std::size_t kDistances = 4;

}  // namespace

ColdSignals::ColdSignals(std::span<const LayerSpec> layers, std::size_t tokens, std::size_t window)
    : specs_(layers.begin(), layers.end()),
      shape_(layers.front().shape),
      tokens_(tokens),
      window_(window),
      layers_(layers.size()) {
  for (Layer& layer : layers_) {
    layer.keys.resize(window * shape_.values_per_token());
    layer.moments.resize(shape_.values_per_token() * shape_.head_dim);
    layer.squares.resize(tokens);
    layer.seen.resize(tokens);
  }
}

// Layers that read the keys of others say nothing of their own.
SignalRequest ColdSignals::wants(std::uint32_t layer) const {
  const bool own = specs_[layer].kv_map == layer;
  return {.stored = own, .queries = own, .softmax = own};
}

void ColdSignals::stored(const StoredRows& rows) {
  Layer& layer = layers_[rows.layer];
  const std::size_t width = shape_.values_per_token();
  for (std::size_t i = 0; i < rows.positions.size(); ++i) {
    const auto position = static_cast<std::size_t>(rows.positions[i]);
    if (position == 0) ++layer.window;
    if (position < window_) std::copy_n(rows.k + i * width, width, layer.keys.data() + position * width);
  }
}

void ColdSignals::attended(const AttendedRows& rows) {
  Layer& layer = layers_[rows.layer];
  for (std::size_t row = 0; row < rows.positions.size(); ++row) {
    const auto position = static_cast<std::size_t>(rows.positions[row]);
    if (position < kFirstQuery || position % kQueryStep != 0) continue;
    add_moments(rows, row, layer);
    add_weights(rows, row, layer);
  }
}

// A query meets a key that is not rotated as the query that was turned back by the key's position.
void ColdSignals::add_moments(const AttendedRows& rows, std::size_t row, Layer& layer) const {
  const std::size_t dim = shape_.head_dim, group = rows.heads / shape_.kv_heads;
  std::vector<float> q(rows.heads * dim);
  for (std::size_t d = 0; d < kDistances; ++d) {
    const std::int64_t key = rows.positions[row] * static_cast<std::int64_t>(2 * d + 1) / (2 * kDistances);
    std::copy_n(rows.q + row * q.size(), q.size(), q.data());
    RopeShift(specs_[rows.layer].rope, key, 0).apply(q, shape_.head_dim);
    for (std::size_t h = 0; h < rows.heads; ++h) {
      double* sums = layer.moments.data() + h / group * dim * dim;
      for (std::size_t a = 0; a < dim; ++a) {
        const double left = q[h * dim + a];
        for (std::size_t b = 0; b < dim; ++b) sums[a * dim + b] += left * q[h * dim + b];
      }
    }
    layer.queries += group;
  }
}

void ColdSignals::add_weights(const AttendedRows& rows, std::size_t row, Layer& layer) const {
  const std::size_t dim = shape_.head_dim, group = rows.heads / shape_.kv_heads, width = shape_.values_per_token();
  const auto position = static_cast<std::size_t>(rows.positions[row]);
  const std::size_t end = position - kNear, first = (layer.window - 1) * window_, seen = specs_[rows.layer].window;
  for (std::size_t t = seen == 0 || seen > position ? 0 : position + 1 - seen; t < end && first + t < tokens_; ++t) {
    ++layer.seen[first + t];
    for (std::size_t h = 0; h < rows.heads; ++h) {
      const float* q = rows.q + (row * rows.heads + h) * dim;
      const float* k = layer.keys.data() + t * width + h / group * dim;
      const float* softmax = rows.softmax + (row * rows.heads + h) * 2;
      float score = 0;
      for (std::size_t d = 0; d < dim; ++d) score += q[d] * k[d];
      const double weight = std::exp(score - softmax[0]) / softmax[1] * static_cast<double>(position);
      layer.squares[first + t] += weight * weight / rows.heads;
    }
  }
}

std::vector<double> ColdSignals::query_moments(std::uint32_t layer, std::uint32_t kv_head) const {
  const std::size_t square = std::size_t{shape_.head_dim} * shape_.head_dim;
  const double* sums = layers_[layer].moments.data() + kv_head * square;
  std::vector<double> means(sums, sums + square);
  for (double& mean : means) mean /= static_cast<double>(std::max<std::uint64_t>(layers_[layer].queries, 1));
  return means;
}

std::vector<double> ColdSignals::saliency(std::uint32_t layer) const {
  constexpr double kLeast = 1e-9;
  std::vector<double> saliency(tokens_, std::numeric_limits<double>::quiet_NaN());
  for (std::size_t t = 0; t < tokens_; ++t) {
    const std::uint32_t seen = layers_[layer].seen[t];
    if (seen * kQueryStep < kFirstQuery) continue;
    saliency[t] = std::log2(std::sqrt(layers_[layer].squares[t] / seen) + kLeast);
  }
  return saliency;
}

}  // namespace cairn::train
