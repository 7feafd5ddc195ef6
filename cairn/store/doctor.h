// SPDX-License-Identifier: Apache-2.0
// What will not work with a store, said before it is missed: its folder, budget, key, clock, what it holds, and whether
// a block can be written and read back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "cairn/store/store.h"

namespace cairn {

enum class Verdict : std::uint8_t { kGood, kWarning, kBad };

constexpr const char* verdict_name(Verdict verdict) {
  return verdict == Verdict::kGood ? "ok" : verdict == Verdict::kWarning ? "warning" : "bad";
}

struct Finding {
  Verdict verdict = Verdict::kGood;
  std::string text;  // a line
};

// `store` is a tier as people write it, with the configuration that it will get (disk_bytes, key_file). It is opened,
// which creates one that is not there; nothing is evicted. What does not work is a finding, never an error.
std::vector<Finding> examine_store(const std::string& store, const StoreConfig& config, Deadline deadline);

// One line for each tier that has no room for a single block of this size, and so would keep nothing without a word.
// `tenant_bytes` is what a tenant may hold, 0 for no limit.
std::vector<std::string> tiers_without_room(const Store& store, std::uint64_t tenant_bytes, std::size_t block_bytes);

}  // namespace cairn
