// SPDX-License-Identifier: Apache-2.0
// The body of each copy_with_checksum_*. All of xxHash is static here, so that each file gets its own instructions.
#pragma once

#include <algorithm>
#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "cairn/base/checksum_isa.h"

namespace cairn {
namespace {

// Small enough that a piece is still in the first-level cache when it is copied after it was hashed.
constexpr std::size_t kPiece = 8192;

std::uint64_t copy_and_hash(std::byte* to, const std::byte* from, std::size_t bytes) {
  if (to == nullptr) return XXH3_64bits(from, bytes);
  if (bytes <= kPiece) {
    if (bytes > 0) std::memcpy(to, from, bytes);
    return XXH3_64bits(from, bytes);
  }
  alignas(64) XXH3_state_t state;
  XXH3_64bits_reset(&state);
  for (std::size_t done = 0; done < bytes; done += kPiece) {
    const std::size_t count = std::min(kPiece, bytes - done);
    XXH3_64bits_update(&state, from + done, count);
    std::memcpy(to + done, from + done, count);
  }
  return XXH3_64bits_digest(&state);
}

}  // namespace
}  // namespace cairn
