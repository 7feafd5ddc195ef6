// SPDX-License-Identifier: Apache-2.0
#include "cairn/train/kmeans.h"

#include <faiss/Clustering.h>
#include <faiss/IndexFlat.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "cairn/base/single_openmp_thread.h"

namespace cairn {
namespace {

faiss::ClusteringParameters parameters(const KmeansShape& plan) {
  faiss::ClusteringParameters p;
  p.niter = plan.iterations;
  p.seed = static_cast<int>(plan.seed & 0x7fffffff);
  p.min_points_per_centroid = 1;  // no warnings on standard error
  p.max_points_per_centroid = std::numeric_limits<int>::max();
  return p;
}

std::vector<float> quantiles(std::span<const float> points, std::uint32_t count) {
  std::vector<float> sorted(points.begin(), points.end());
  std::ranges::sort(sorted);
  std::vector<float> at;
  for (std::size_t c = 0; c < count; ++c) at.push_back(sorted[(2 * c + 1) * sorted.size() / (2 * count)]);
  return at;
}

// With a sum of n, as if nothing was weighted: an empty cluster is refilled from one whose weight exceeds 1, and faiss
// searches for such a one until it finds it.
std::vector<float> balanced(std::span<const float> weights) {
  double sum = 0;
  for (const float weight : weights) sum += weight;
  std::vector<float> out(weights.size(), 1.0f);
  for (std::size_t i = 0; i < weights.size() && sum > 0; ++i) {
    out[i] = static_cast<float>(weights[i] / sum * static_cast<double>(weights.size()));
  }
  return out;
}

}  // namespace

std::vector<float> kmeans(const KmeansShape& plan, std::span<const float> points, std::span<const float> weights,
                          std::vector<float> start) {
  const SingleOpenMpThread alone;  // several threads would add up centroids in any order
  faiss::Clustering clustering(static_cast<int>(plan.dimensions), static_cast<int>(plan.centroids), parameters(plan));
  if (start.empty() && plan.dimensions == 1) start = quantiles(points, plan.centroids);
  clustering.centroids = std::move(start);
  faiss::IndexFlatL2 index(static_cast<faiss::Index::idx_t>(plan.dimensions));
  clustering.train(static_cast<faiss::Index::idx_t>(points.size() / plan.dimensions), points.data(), index,
                   balanced(weights).data());
  // Splitting an empty cluster may break the order.
  if (plan.dimensions == 1) std::ranges::sort(clustering.centroids);
  return clustering.centroids;
}

}  // namespace cairn
