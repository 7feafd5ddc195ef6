// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "cairn/testing/random.h"
#include "cairn/train/train_codebooks.h"

namespace cairn::train {
namespace {

TEST(Kmeans, FindsSeparateClustersInOrder) {
  std::vector<float> points;
  for (int i = 0; i < 400; ++i) points.push_back(static_cast<float>(i % 4) * 10 + static_cast<float>(i % 5) * 0.01f);
  const auto centroids = kmeans({.centroids = 4}, points, std::vector<float>(400, 1.0f));
  for (std::size_t c = 0; c < 4; ++c) EXPECT_NEAR(centroids[c], 10 * static_cast<float>(c) + 0.02f, 1e-3);
}

TEST(Kmeans, HeavyPointsAttract) {
  const std::vector<float> points = {0, 0, 1, 1}, weights = {3, 3, 1, 1};
  EXPECT_NEAR(kmeans({.centroids = 1}, points, weights).front(), 0.25f, 1e-6);
}

// Fewer places than centroids, so that some stay empty, and weights that sum to next to nothing.
TEST(Kmeans, EndsWhenClustersAreEmptyAndWeightsSmall) {
  for (const std::uint32_t dimensions : {1u, 2u}) {
    for (const float weight : {0.0f, 1e-20f, 1e-3f}) {
      const std::vector<float> points(1024 * dimensions, 0.5f), weights(1024, weight);
      for (const float value : kmeans({.dimensions = dimensions, .centroids = 256}, points, weights)) {
        EXPECT_NEAR(value, 0.5f, 1e-2);
      }
    }
  }
}

TEST(Kmeans, IsDeterministicAndGoesOnFromAStart) {
  const auto points = testing::random_floats(2 * 4000, 1);
  const std::vector<float> weights(4000, 1.0f);
  const KmeansShape plan = {.dimensions = 2, .centroids = 64, .iterations = 5};
  const auto first = kmeans(plan, points, weights);
  EXPECT_EQ(first, kmeans(plan, points, weights));
  EXPECT_NE(first, kmeans(plan, points, weights, first));
}

}  // namespace
}  // namespace cairn::train
