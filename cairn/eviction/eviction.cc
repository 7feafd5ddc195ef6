// SPDX-License-Identifier: Apache-2.0
#include "cairn/eviction/eviction.h"

namespace cairn {
namespace {

struct Row {
  std::string_view name;
  std::unique_ptr<EvictionPolicy> (*make)(std::uint64_t capacity_bytes);
};

constexpr Row kPolicies[] = {
    {"lru", make_lru},
    {"s3fifo", make_s3fifo},
    {"cost", make_cost},
};

}  // namespace

Result<std::unique_ptr<EvictionPolicy>> make_eviction_policy(std::string_view name, std::uint64_t capacity_bytes_hint) {
  for (const Row& row : kPolicies) {
    if (row.name == name) return row.make(capacity_bytes_hint);
  }
  std::string known;
  for (const Row& row : kPolicies) known += (known.empty() ? "" : ", ") + std::string(row.name);
  return fail(ErrorCode::kInvalidArgument, "no eviction policy '" + std::string(name) + "'; there are: " + known);
}

Result<std::unique_ptr<EvictionPolicy>> make_chain_policy(std::string_view name, std::uint64_t capacity_bytes_hint) {
  if (name == "lru") return make_leaf_lru();
  return make_eviction_policy(name, capacity_bytes_hint);
}

std::vector<std::string> eviction_policy_names() {
  std::vector<std::string> names;
  for (const Row& row : kPolicies) names.emplace_back(row.name);
  return names;
}

}  // namespace cairn
