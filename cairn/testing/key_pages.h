// SPDX-License-Identifier: Apache-2.0
// Pages of random keys that are not rounded, and queries, for tests of what readers make of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <vector>

#include "cairn/attention/attend.h"
#include "cairn/base/random.h"
#include "cairn/block/page_pool.h"
#include "cairn/codec/codec.h"
#include "cairn/testing/codec_pages.h"

namespace cairn::testing::key_pages {

inline constexpr PageShape kShape = {2, 16, 0};
inline constexpr std::uint32_t kHeads = 4, kGroup = 2, kDim = 16;
inline constexpr std::size_t kBlocks = 9, kTokens = kBlocks * kBlockTokens;

// Pages of raw f32 keys, so that nothing is rounded before boxes are.
struct Pages {
  PageFormat format{find_codec("raw_f32").value(), kShape};
  std::vector<PageMemory> bytes;
  std::vector<std::int32_t> positions;
  std::vector<PageView> views;
  std::vector<double> keys;  // [kv_heads, kTokens, kDim]

  explicit Pages(std::uint64_t seed) : positions(kTokens), keys(2 * kTokens * kDim) {
    SeededRandom random(seed, "boxes");
    std::iota(positions.begin(), positions.end(), 0);
    bytes.resize(kBlocks, PageMemory(format.codec->page_bytes(format)));
    for (std::size_t t = 0; t < kTokens; ++t) {
      std::vector<float> row(2 * kDim);
      for (std::size_t i = 0; i < row.size(); ++i) {
        row[i] = static_cast<float>(random.unit() * 2 - 1);
        keys[(i / kDim * kTokens + t) * kDim + i % kDim] = double{row[i]};
      }
      format.codec->store_token(format, bytes[t / kBlockTokens].data(), t % kBlockTokens, row.data());
    }
    for (std::size_t b = 0; b < kBlocks; ++b) {
      views.push_back({.keys = bytes[b].data(),
                       .key_format = &format,
                       .positions = positions.data() + b * kBlockTokens,
                       .count = kBlockTokens,
                       .min_position = static_cast<std::int32_t>(b * kBlockTokens),
                       .max_position = static_cast<std::int32_t>((b + 1) * kBlockTokens - 1)});
    }
  }
  double key(std::size_t head, std::size_t token, std::size_t c) const {
    return keys[(head * kTokens + token) * kDim + c];
  }
};

// Of a budget that has enough.
inline Reservation room() {
  static const std::unique_ptr<PagePool> pool =
      PagePool::create(std::size_t{64} << 20, std::vector<std::size_t>{64}).value();
  return pool->reserve(std::size_t{1} << 20).value();
}

inline std::vector<float> some_queries(std::uint64_t seed) {
  SeededRandom random(seed, "queries");
  std::vector<float> q(kHeads * kDim);
  for (float& value : q) value = static_cast<float>(random.unit() * 4 - 2);
  return q;
}

}  // namespace cairn::testing::key_pages
