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

// The same compiled for each instruction set, of which both functions above take the best when the program starts.
// Copies to `to` unless it is null.
using CopyWithChecksum = std::uint64_t (*)(std::byte* to, const std::byte* from, std::size_t bytes);

std::uint64_t copy_with_checksum_base(std::byte* to, const std::byte* from, std::size_t bytes);
std::uint64_t copy_with_checksum_avx2(std::byte* to, const std::byte* from, std::size_t bytes);
std::uint64_t copy_with_checksum_avx512(std::byte* to, const std::byte* from, std::size_t bytes);

}  // namespace cairn
