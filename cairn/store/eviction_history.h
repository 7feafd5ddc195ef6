// SPDX-License-Identifier: Apache-2.0
// What became of blocks that are not there any more: the last 65,536 of them, so that a miss can be explained.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cairn/base/hash.h"

namespace cairn {

// As stored: never change a number. kForeign: it has another format version than this build reads.
enum class Gone : std::uint8_t { kUnknown, kEvicted, kExpired, kDamaged, kErased, kForeign };

// Thread-compatible. Goes by the first 8 bytes of keys: a wrong explanation is unlikely, and does no harm.
class EvictionHistory {
 public:
  void note(const Digest& key, Gone why);
  void forget(const Digest& key);  // it is there again
  Gone find(const Digest& key) const;

  std::vector<std::byte> bytes() const;  // as load() reads them
  void load(const std::string& path);    // what cannot be read is not known

 private:
  struct Entry {
    Gone why;
    std::uint64_t number;
  };
  void add(std::uint64_t id, Gone why);
  bool holds(const std::pair<std::uint64_t, std::uint64_t>& entry) const;

  std::unordered_map<std::uint64_t, Entry> why_;
  // Ids with the numbers of their entries, oldest first; those of forgotten entries stay for a while.
  std::deque<std::pair<std::uint64_t, std::uint64_t>> order_;
  std::uint64_t next_ = 0;
};

}  // namespace cairn
