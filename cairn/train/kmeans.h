// SPDX-License-Identifier: Apache-2.0
// K-means by faiss, the same on every run and for any number of threads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace cairn {

struct KmeansShape {
  std::uint32_t dimensions = 1;
  std::uint32_t centroids = 16;
  int iterations = 25;
  std::uint64_t seed = 1;
};

// Moves centroids [centroids, dimensions] towards points [n, dimensions], each of which counts weights[n]. `start` is
// where they begin; when it is empty, at points of the seed's choice, or, in one dimension, at quantiles. In one
// dimension they come in ascending order. Requires: n >= 2 * centroids, finite points and weights, none of which is
// negative. Computes on the calling thread alone.
std::vector<float> kmeans(const KmeansShape& plan, std::span<const float> points, std::span<const float> weights,
                          std::vector<float> start = {});

}  // namespace cairn
