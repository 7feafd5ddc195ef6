// SPDX-License-Identifier: Apache-2.0
// Memory of records that are gone, kept for the next ones: the system clears every page it hands out, which takes
// longer than reading a block from a near server.
#pragma once

#include <cstddef>

namespace cairn {

// What is kept at most.
inline constexpr std::size_t kRecordPoolBytes = std::size_t{64} << 20;

// Memory aligned to kDirectIoPage, contents unspecified. Throws like new. Thread-safe.
std::byte* take_record_memory(std::size_t bytes);
// Requires: taken with the same size. Null is ignored. Thread-safe.
void give_record_memory(std::byte* memory, std::size_t bytes) noexcept;

}  // namespace cairn
