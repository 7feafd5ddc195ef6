// SPDX-License-Identifier: Apache-2.0
// Records of random bytes for the tests of tiers, and what came back of them.
#pragma once

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <vector>

#include "cairn/store/tier.h"
#include "cairn/testing/random.h"

namespace cairn::testing {

using Records = std::vector<std::shared_ptr<const BlockRecord>>;

// Of what a server that is well does at once.
inline Deadline soon() {
  return deadline_in(std::chrono::seconds(10));
}

inline Digest any_key(std::uint32_t seed) {
  return Hasher("cairn.test.v1").u32(seed).finish();
}

// One part for tokens, the rest in two; sizes need not be round.
inline std::shared_ptr<const BlockRecord> any_record(std::uint32_t seed, std::size_t bytes, std::int64_t expires_s = 0,
                                                     std::int64_t created_s = 1) {
  const std::vector<std::byte> content = random_bytes(bytes, seed);
  const std::span<const std::byte> all = content;
  const std::size_t first = std::min<std::size_t>(64, bytes), half = (bytes - first) / 2;
  const std::vector parts{all.first(first), all.subspan(first, half), all.subspan(first + half)};
  BlockMeta meta{.key = any_key(seed),
                 .parent = any_key(seed + 1),
                 .recipe = any_key(7),
                 .tenant = 3,
                 .depth = 5,
                 .created_s = created_s,
                 .expires_s = expires_s,
                 .parts = {}};
  for (const auto& part : parts) meta.parts.push_back({static_cast<std::uint32_t>(part.size()), 9});
  return BlockRecord::build(std::move(meta), parts);
}

struct Got {
  BlockStatus status = BlockStatus::kBroken;
  std::shared_ptr<const BlockRecord> record;
  int times = 0;
};

inline std::vector<Got> get_all(Tier& tier, std::span<const Digest> keys, Deadline deadline) {
  std::vector<Got> got(keys.size());
  tier.get(keys, deadline, [&](std::size_t i, BlockStatus status, std::shared_ptr<const BlockRecord> record) {
    ++got[i].times;
    got[i].status = status;
    got[i].record = std::move(record);
  });
  return got;
}

// The same block, each byte of it.
inline bool same_block(const BlockRecord& a, const BlockRecord& b) {
  return a.meta() == b.meta() && std::ranges::equal(a.bytes(), b.bytes()) && b.intact();
}

// The same block as far as its owner sees it: all but padding.
inline bool same_parts(const BlockRecord& a, const BlockRecord& b) {
  if (a.meta() != b.meta()) return false;
  for (std::size_t i = 0; i < a.meta().parts.size(); ++i) {
    std::vector<std::byte> of_a(a.meta().parts[i].bytes), of_b(of_a.size());
    if (!a.copy_part(i, of_a) || !b.copy_part(i, of_b) || of_a != of_b) return false;
  }
  return true;
}

// What comes of a read whose bytes may have been damaged: the block itself or no block. A record whose parts do not
// verify is no block.
inline bool right_or_nothing(const Got& got, const BlockRecord& expected) {
  if (got.times != 1 || (got.status == BlockStatus::kOk) != (got.record != nullptr)) return false;
  return got.record == nullptr || !got.record->intact() || same_parts(expected, *got.record);
}

}  // namespace cairn::testing
