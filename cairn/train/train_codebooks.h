// SPDX-License-Identifier: Apache-2.0
// Codebooks of the codecs of pq.cc from keys and values of a text, by faiss's k-means.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/base/thread_pool.h"
#include "cairn/codec/codebooks.h"
#include "cairn/codec/codec.h"
#include "cairn/train/kv_samples.h"

namespace cairn::train {

// One table for each layer, slot and KV head; equal for equal samples, whatever the threads. Errors: kUnsupported for a
// codec without codebooks.
Result<Codebooks> train_codebooks(const Codec& codec, const Digest& model, const KvSamples& samples, ThreadPool& pool,
                                  const std::function<void(std::size_t done, std::size_t total)>& on_progress = {});

struct KmeansShape {
  std::uint32_t dimensions = 1;
  std::uint32_t centroids = 16;
  int iterations = 25;
  std::uint64_t seed = 1;
};

// K-means, the same on every run and for any number of threads. Moves centroids [centroids, dimensions] towards points
// [n, dimensions], each of which counts weights[n]. `start` is where they begin; when it is empty, at points of the
// seed's choice, or, in one dimension, at quantiles. In one dimension they come in ascending order. Requires: n >= 2 *
// centroids, finite points and weights, none of which is negative. Computes on the calling thread alone.
std::vector<float> kmeans(const KmeansShape& plan, std::span<const float> points, std::span<const float> weights,
                          std::vector<float> start = {});

}  // namespace cairn::train
