// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/query_moments.h"

#include <algorithm>

#include "cairn/kernels/kernels.h"

namespace cairn::cache {

void QueryMoments::observe(std::uint32_t layer, const AttendRows& rows, const AttendLayer& how, ThreadPool& pool) {
  const std::size_t dim = how.shape.head_dim, pairs = frequencies_.size(), triangle = dim * (dim + 1) / 2;
  Sums& sums = of_layer_[layer];
  if (sums.heads == 0) {
    sums.heads = how.heads;
    sums.values.resize(how.heads * dim);
    sums.products.resize(how.heads * triangle);
  }
  std::vector<std::uint32_t> counting;
  for (std::uint32_t r = 0; r < rows.rows; ++r) {
    if (rows.positions[r] < static_cast<std::int64_t>(sinks_)) continue;
    counting.push_back(r);
    counted_ = std::max(counted_, rows.positions[r] + 1);
  }
  sums.queries += counting.size();
  // Back to position 0. The magnitude of the rotation stays in the queries, as in those to come.
  std::vector<float> cos(counting.size() * pairs), sin(cos.size());
  pool.run(counting.size(), [&](std::size_t i, unsigned) {
    rope_cos_sin(frequencies_, 1.0, -std::int64_t{rows.positions[counting[i]]},
                 std::span(cos).subspan(i * pairs, pairs), std::span(sin).subspan(i * pairs, pairs));
  });
  const auto turn = rope_.pairing == RopePairing::kNeighbours ? kernels().rope_neighbours : kernels().rope_halves;
  pool.run(how.heads, [&](std::size_t head, unsigned) {
    std::vector<float> q(dim);
    double* values = sums.values.data() + head * dim;
    for (std::size_t n = 0; n < counting.size(); ++n) {
      std::copy_n(rows.q + (counting[n] * std::size_t{how.heads} + head) * dim, dim, q.data());
      turn(q.data() + rope_.first, cos.data() + n * pairs, sin.data() + n * pairs, pairs);
      double* products = sums.products.data() + head * triangle;
      for (std::size_t i = 0; i < dim; ++i) {
        const auto value = static_cast<double>(q[i]);
        values[i] += value;
        for (std::size_t j = 0; j <= i; ++j) products[j] += value * static_cast<double>(q[j]);
        products += i + 1;
      }
    }
  });
}

std::size_t QueryMoments::bytes() const {
  std::size_t values = 0;
  for (const auto& [layer, sums] : of_layer_) values += sums.values.size() + sums.products.size();
  return values * sizeof(double);
}

QueryGaussians QueryMoments::read(PageShape shape) const {
  const std::size_t dim = shape.head_dim, triangle = dim * (dim + 1) / 2;
  QueryGaussians all;
  all.rope = rope_;
  for (const auto& [layer, sums] : of_layer_) all.per_kv_head += sums.heads / shape.kv_heads;
  all.mean.resize(std::size_t{shape.kv_heads} * all.per_kv_head * dim);
  all.covariance.resize(all.mean.size() * dim);
  std::size_t first = 0;  // of this layer's query heads among those of a KV head
  for (const auto& [layer, sums] : of_layer_) {
    const std::size_t group = sums.heads / shape.kv_heads;
    const double count = static_cast<double>(std::max<std::size_t>(sums.queries, 1));
    for (std::size_t head = 0; head < sums.heads; ++head) {
      const std::size_t to = head / group * all.per_kv_head + first + head % group;
      double* mean = all.mean.data() + to * dim;
      double* covariance = all.covariance.data() + to * dim * dim;
      for (std::size_t i = 0; i < dim; ++i) mean[i] = sums.values[head * dim + i] / count;
      const double* products = sums.products.data() + head * triangle;
      for (std::size_t i = 0; i < dim; ++i) {
        for (std::size_t j = 0; j <= i; ++j) {
          covariance[i * dim + j] = covariance[j * dim + i] = *products++ / count - mean[i] * mean[j];
        }
      }
    }
    first += group;
  }
  return all;
}

}  // namespace cairn::cache
