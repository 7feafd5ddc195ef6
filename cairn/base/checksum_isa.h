// SPDX-License-Identifier: Apache-2.0
// One checksum, compiled for several instruction sets; checksum.cc picks.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cairn {

// Copies to `to` unless it is null.
using CopyWithChecksum = std::uint64_t (*)(std::byte* to, const std::byte* from, std::size_t bytes);

std::uint64_t copy_with_checksum_base(std::byte* to, const std::byte* from, std::size_t bytes);
std::uint64_t copy_with_checksum_avx2(std::byte* to, const std::byte* from, std::size_t bytes);
std::uint64_t copy_with_checksum_avx512(std::byte* to, const std::byte* from, std::size_t bytes);

}  // namespace cairn
