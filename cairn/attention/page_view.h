// SPDX-License-Identifier: Apache-2.0
// What attention reads of one block at one layer.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "cairn/codec/codec.h"

namespace cairn {

// The position of a token that no query may see any more: it is not below any query's.
inline constexpr std::int32_t kHiddenPosition = std::numeric_limits<std::int32_t>::max();

// Non-owning; valid until the sequence it came from is appended to, trimmed or destroyed. Slots [0, count) hold tokens;
// slots beyond hold finite values that must not count. Positions are data: they need not be contiguous.
struct PageView {
  const std::byte* keys = nullptr;
  const std::byte* values = nullptr;
  const PageFormat* key_format = nullptr;
  const PageFormat* value_format = nullptr;
  const std::int32_t* positions = nullptr;  // [count]
  std::uint32_t count = 0;
  std::int32_t min_position = 0;  // over [0, count): whole pages are skipped or left unmasked by these two
  std::int32_t max_position = 0;
};

// The least position that a query at `position` sees through a window of so many positions; 0 is no window.
inline std::int32_t oldest_visible(std::int32_t position, std::uint32_t window) {
  constexpr std::int64_t kLeast = std::numeric_limits<std::int32_t>::min();
  return static_cast<std::int32_t>(window == 0 ? kLeast : std::max(kLeast, std::int64_t{position} - window + 1));
}

// Which slots a query at `position` sees: bit t for token t.
inline std::uint64_t visible_slots(const PageView& page, std::int32_t position, std::uint32_t window = 0) {
  const std::uint64_t all = page.count == 64 ? ~0ull : (1ull << page.count) - 1;
  const std::int32_t oldest = oldest_visible(position, window);
  if (page.max_position <= position && page.min_position >= oldest) return all;
  std::uint64_t mask = 0;
  for (std::uint32_t t = 0; t < page.count; ++t) {
    mask |= std::uint64_t{page.positions[t] <= position && page.positions[t] >= oldest} << t;
  }
  return mask;
}

// What a query sees: first blocks as they are stored, then those that it sees as they were computed.
struct SeenPages {
  std::span<const PageView> settled;
  std::span<const PageView> open;
};

}  // namespace cairn
