// SPDX-License-Identifier: Apache-2.0
// What a policy would have made of a trace: hits, and bytes moved.
#pragma once

#include <cstdint>
#include <functional>

#include "cairn/base/result.h"
#include "cairn/eviction/eviction.h"
#include "cairn/trace/trace.h"

namespace cairn {

struct ReplayOptions {
  std::uint64_t capacity_blocks = 0;  // 0: unbounded
  std::uint64_t block_bytes = 1;      // all blocks are of one size; at least 1
  // Called now and then; false stops the replay.
  std::function<bool(std::size_t done, std::size_t total)> progress;
};

// In blocks unless it says tokens. A hit is an input block that was resident when its turn came; a prefix hit has none
// but hits before it in its request, which is what attention can use.
struct ReplayCounts {
  std::uint64_t lookups = 0, hits = 0, prefix_hits = 0;
  std::uint64_t tokens = 0, hit_tokens = 0, prefix_hit_tokens = 0;  // of inputs
  std::uint64_t inserted = 0, evicted = 0;
  std::uint64_t refused = 0;  // not kept: everything else was in use, or (clairvoyant) not worth it
  std::uint64_t max_resident = 0;
};

// A share of lookups or tokens; 0 of nothing is 0.
inline double rate(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

// Block by block in order: looked up, then inserted if it was missing. The blocks of the request that is running may
// not be evicted. Errors: kCancelled (progress said so), kInternal (the policy named a block that it may not).
Result<ReplayCounts> replay(const Trace& trace, EvictionPolicy& policy, const ReplayOptions& options);

// The bound that no policy passes: Belady's MIN, which drops what is needed again last.
//
// Belady, "A study of replacement algorithms for a virtual-storage computer" (1966), with bypass: a block that would
// itself be needed last is not kept at all. Blocks have one size, so this is the most hits there can be; leaves are not
// preferred and nothing is pinned, hence it bounds policies that are. It bounds hits; prefix hits, which it does not
// aim at, may come out lower.
//
// Errors: kCancelled.
Result<ReplayCounts> replay_clairvoyant(const Trace& trace, const ReplayOptions& options);

}  // namespace cairn
