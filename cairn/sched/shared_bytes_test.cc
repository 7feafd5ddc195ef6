// SPDX-License-Identifier: Apache-2.0
#include "cairn/sched/shared_bytes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "cairn/base/random.h"

namespace cairn {
namespace {

constexpr std::size_t kBlockBytes = 10;
const SharedBytes::BlockBytes kBytesOf = [](std::size_t) { return kBlockBytes; };

std::vector<Digest> keys_of(std::uint64_t document, std::size_t first, std::size_t count) {
  std::vector<Digest> keys;
  for (std::size_t b = first; b < first + count; ++b) keys.push_back(Hasher("test").u64(document).u64(b).finish());
  return keys;
}

struct Request {
  GrowthBytes growth;
  std::vector<Digest> keys;
};

std::size_t total_of(const std::vector<Request>& requests, const SharedBytes::KeySet& held) {
  SharedBytes bytes(held, kBytesOf);
  for (const Request& request : requests) {
    const std::size_t expected = bytes.with(request.growth, request.keys);
    bytes.add(request.growth, request.keys);
    EXPECT_EQ(bytes.total(), expected);
  }
  return bytes.total();
}

// What they take at the worst of all moments: each is whole, or packed if it ever is.
std::size_t worst_of(const std::vector<Request>& requests, const SharedBytes::KeySet& held) {
  std::size_t worst = 0;
  for (std::size_t packed = 0; packed < std::size_t{1} << requests.size(); ++packed) {
    std::set<Digest> blocks;
    std::size_t bytes = 0;
    for (std::size_t r = 0; r < requests.size(); ++r) {
      const auto& [growth, keys] = requests[r];
      if ((packed >> r & 1) != 0) {
        bytes += growth.packed;
        continue;
      }
      bytes += growth.whole - keys.size() * kBlockBytes;
      blocks.insert(keys.begin(), keys.end());
    }
    bytes += kBlockBytes * static_cast<std::size_t>(
                               std::ranges::count_if(blocks, [&](const Digest& key) { return !held.contains(key); }));
    worst = std::max(worst, bytes);
  }
  return worst;
}

// Both have a prompt of ten blocks, and one of them packs it to three: the other one's ten stay.
TEST(SharedBytes, WhatOnePacksTheOtherStillHolds) {
  const std::vector<Digest> keys = keys_of(1, 0, 10);
  const Request packs{{.whole = 104, .packed = 30}, keys}, plain{{.whole = 110, .packed = 0}, keys};
  EXPECT_EQ(total_of({packs}, {}), 104u);
  EXPECT_EQ(total_of({plain}, {}), 110u);
  EXPECT_EQ(total_of({packs, plain}, {}), 110u + 30);
  EXPECT_EQ(total_of({plain, packs}, {}), 110u + 30);
  EXPECT_EQ(total_of({plain, plain}, {}), 110u + 10);
  // Once it has packed them it shares none.
  const Request packed{{.whole = 0, .packed = 30}, {}};
  EXPECT_EQ(total_of({packed, plain}, {}), 110u + 30);
  // Held by the tenant they count for nobody.
  const SharedBytes::KeySet held(keys.begin(), keys.end());
  EXPECT_EQ(total_of({packs, plain}, held), 10u + 30);
}

TEST(SharedBytes, TheBoundHoldsWhateverTheOrder) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    SeededRandom random(seed, "requests");
    std::vector<Request> requests;
    SharedBytes::KeySet held;
    for (const Digest& key : keys_of(0, 0, random.below(3))) held.insert(key);
    bool one_packs = false;
    for (std::size_t r = 0, count = 1 + random.below(5); r < count; ++r) {
      const std::uint64_t document = random.below(2);
      std::vector<Digest> keys = keys_of(document, 0, random.below(8));
      const std::size_t whole = keys.size() * kBlockBytes + random.below(100);
      const std::size_t packed = random.below(2) == 0 ? 0 : random.below(whole + 1);
      one_packs = one_packs || packed > 0;
      requests.push_back({{.whole = whole, .packed = packed}, std::move(keys)});
    }
    const std::size_t total = total_of(requests, held), worst = worst_of(requests, held);
    EXPECT_GE(total, worst) << seed;
    if (!one_packs) {
      EXPECT_EQ(total, worst) << seed;
    }
    std::ranges::reverse(requests);
    EXPECT_EQ(total_of(requests, held), total) << seed;
  }
}

}  // namespace
}  // namespace cairn
