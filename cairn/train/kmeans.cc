// SPDX-License-Identifier: Apache-2.0
#include "cairn/train/kmeans.h"

#include <faiss/Clustering.h>
#include <faiss/IndexFlat.h>
#include <faiss/utils/distances.h>
#include <omp.h>

#include <algorithm>
#include <limits>

namespace cairn {
namespace {

constexpr int kIterations = 25;

faiss::ClusteringParameters parameters(std::uint64_t seed) {
  faiss::ClusteringParameters p;
  p.niter = kIterations;
  p.seed = static_cast<int>(seed & 0x7fffffff);
  p.min_points_per_centroid = 1;  // no warnings on standard error
  p.max_points_per_centroid = std::numeric_limits<int>::max();
  return p;
}

}  // namespace

std::vector<float> kmeans(std::span<const float> points, std::span<const float> weights, std::uint32_t dimensions,
                          std::uint32_t count, std::uint64_t seed) {
  omp_set_num_threads(1);  // of this thread; sums of several would come in any order
  const auto n = static_cast<faiss::Index::idx_t>(points.size() / dimensions);
  faiss::Clustering clustering(static_cast<int>(dimensions), static_cast<int>(count), parameters(seed));
  if (dimensions == 1) {
    // Equal shares of the points to begin with: k-means in one dimension keeps the order that it starts from.
    std::vector<float> sorted(points.begin(), points.end());
    std::ranges::sort(sorted);
    for (std::size_t c = 0; c < count; ++c) {
      clustering.centroids.push_back(sorted[(2 * c + 1) * sorted.size() / (2 * count)]);
    }
  }
  faiss::IndexFlatL2 index(static_cast<faiss::Index::idx_t>(dimensions));
  clustering.train(n, points.data(), index, weights.data());
  if (dimensions == 1) std::ranges::sort(clustering.centroids);
  return clustering.centroids;
}

}  // namespace cairn
