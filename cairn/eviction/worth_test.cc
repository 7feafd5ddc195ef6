// SPDX-License-Identifier: Apache-2.0
#include "cairn/eviction/worth.h"

#include <gtest/gtest.h>

namespace cairn {
namespace {

const Digest kA = Hasher("a").finish(), kB = Hasher("b").finish();

bool any(const Digest&) {
  return true;
}

// Class 1 is hit a little more often than class 0, and both only at ages below 1000.
HitDensity learned() {
  HitDensity density(2);
  for (int i = 0; i < 10000; ++i) {
    for (const std::size_t of_class : {0, 1}) {
      for (std::uint64_t age = 0; age < 4000; age += 100) density.kept(of_class, age, 100);
      if (i % 10 < 5 + static_cast<int>(of_class)) density.hit(of_class, static_cast<std::uint64_t>(i % 1000));
    }
  }
  density.learn(1);
  return density;
}

TEST(Candidates, WorthDecidesThenAge) {
  const HitDensity density = learned();
  Candidates candidates(density);
  EXPECT_EQ(candidates.first(any), std::nullopt);
  candidates.insert(1, 0, 1, kA, 2);
  candidates.insert(0, 0, 2, kB, 2);
  EXPECT_EQ(candidates.first(any), kB);
  EXPECT_EQ(candidates.first([](const Digest& key) { return key != kB; }), kA);
  candidates.erase(2);
  EXPECT_EQ(candidates.first(any), kA);
  candidates.insert(1, 0, 2, kB, 2);
  EXPECT_EQ(candidates.first(any), kA);  // the older of equals
}

TEST(Candidates, PriceOutweighsClass) {
  const HitDensity density = learned();
  Candidates candidates(density);
  candidates.insert(1, 0, 1, kA, 2);
  candidates.insert(0, 2, 2, kB, 2);
  EXPECT_EQ(candidates.first(any), kA);
}

TEST(Candidates, BlocksGrowOld) {
  const HitDensity density = learned();
  Candidates candidates(density);
  candidates.insert(1, 0, 1, kA, 1);
  candidates.insert(0, 0, 2500, kB, 2500);
  EXPECT_EQ(candidates.first(any), kB);
  candidates.age(2500);
  EXPECT_EQ(candidates.first(any), kA);
  candidates.erase(1);
  candidates.erase(2500);
  EXPECT_EQ(candidates.first(any), std::nullopt);
}

}  // namespace
}  // namespace cairn
