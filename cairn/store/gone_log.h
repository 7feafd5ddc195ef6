// SPDX-License-Identifier: Apache-2.0
// What became of blocks that are not there any more: the last 65,536 of them, so that a miss can be explained.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>

#include "cairn/base/hash.h"
#include "cairn/base/result.h"

namespace cairn {

enum class Gone : std::uint8_t { kUnknown, kEvicted, kExpired, kDamaged, kErased };

// Thread-compatible. Goes by the first 8 bytes of keys: a wrong explanation is unlikely, and does no harm.
class GoneLog {
 public:
  void note(const Digest& key, Gone why);
  void forget(const Digest& key);  // it is there again
  Gone find(const Digest& key) const;

  Status save(const std::string& path) const;
  void load(const std::string& path);  // what cannot be read is not known

 private:
  void add(std::uint64_t id, Gone why);

  std::unordered_map<std::uint64_t, Gone> why_;
  std::deque<std::uint64_t> order_;  // oldest first
};

}  // namespace cairn
