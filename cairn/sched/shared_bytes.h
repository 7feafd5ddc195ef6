// SPDX-License-Identifier: Apache-2.0
// KV bytes of requests together, where blocks that several of them share count once. A request whose token policy packs
// its blocks lets go of the shared ones then, and the others hold them on: what it takes with its own pages comes
// beside them. Requests that begin with the same kept prefix share packed pages too: these count for each of them, so
// what is counted is more than what they take.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "cairn/base/hash.h"

namespace cairn {

// KV bytes of a request at the worst moment of a growth, by whose pages they are.
struct GrowthBytes {
  std::size_t whole = 0;   // while its prompt's blocks may be those of others
  std::size_t packed = 0;  // once a token policy has packed them, or moved them elsewhere: all count as its own
  std::size_t beside = 0;  // of the place that they move to; SharedBytes does not count it
};

// A value; thread-compatible.
class SharedBytes {
 public:
  using KeySet = std::unordered_set<Digest, DigestHash>;
  using BlockBytes = std::function<std::size_t(std::size_t)>;  // of one full block, by its number

  // Blocks in `held` count for nobody; both must outlive this.
  SharedBytes(const KeySet& held, const BlockBytes& block_bytes) : held_(&held), block_bytes_(&block_bytes) {}

  // An upper bound of what the requests so far take at any moment, whichever of them have packed.
  std::size_t total() const { return total_; }
  // The total with one more, whose leading blocks have these keys while they are not packed.
  std::size_t with(const GrowthBytes& growth, std::span<const Digest> keys) const;
  void add(const GrowthBytes& growth, std::span<const Digest> keys);

 private:
  // Of a request: the blocks that are its alone, or its packed ones.
  struct Part {
    std::size_t own = 0, packed = 0;
    std::size_t bytes() const { return own > packed ? own : packed; }
  };
  // What another request changes.
  struct Change {
    Part part;
    std::size_t total = 0;
    std::unordered_map<std::size_t, std::size_t> moved{};  // by part: bytes of blocks that are no longer its alone
  };
  Change change_of(const GrowthBytes& growth, std::span<const Digest> keys) const;

  static constexpr std::size_t kShared = static_cast<std::size_t>(-1);

  const KeySet* held_;
  const BlockBytes* block_bytes_;
  std::vector<Part> parts_;
  std::unordered_map<Digest, std::size_t, DigestHash> owners_;  // whose part a block is in, or kShared
  std::size_t total_ = 0;
};

}  // namespace cairn
