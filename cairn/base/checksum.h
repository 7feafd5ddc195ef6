// SPDX-License-Identifier: Apache-2.0
// XXH3 with 64 bits: tells damage from what was written, not an attacker from a friend. The same value on every CPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace cairn {

std::uint64_t checksum(std::span<const std::byte> data);

// Copies and returns the checksum of what was copied, in one pass over memory. Requires: equal sizes, no overlap.
std::uint64_t copy_with_checksum(std::span<std::byte> to, std::span<const std::byte> from);

}  // namespace cairn
