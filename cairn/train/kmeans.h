// SPDX-License-Identifier: Apache-2.0
// K-means by faiss, the same on every run and for any number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace cairn {

// Centroids [count, dimensions] of points [n, dimensions], each of which counts `weights[n]`; in ascending order when
// there is one dimension. Requires: n >= count, finite points. Computes on the calling thread alone.
std::vector<float> kmeans(std::span<const float> points, std::span<const float> weights, std::uint32_t dimensions,
                          std::uint32_t count, std::uint64_t seed);

}  // namespace cairn
