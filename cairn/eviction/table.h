// SPDX-License-Identifier: Apache-2.0
// Where the policies are made; one file each. docs/eviction.md compares them.
#pragma once

#include <cstdint>
#include <memory>

#include "cairn/eviction/eviction.h"

namespace cairn {

std::unique_ptr<EvictionPolicy> make_lru(std::uint64_t capacity_bytes);
std::unique_ptr<EvictionPolicy> make_s3fifo(std::uint64_t capacity_bytes);
std::unique_ptr<EvictionPolicy> make_cost(std::uint64_t capacity_bytes);

}  // namespace cairn
