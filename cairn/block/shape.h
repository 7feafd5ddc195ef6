// SPDX-License-Identifier: Apache-2.0
// The shapes that pages, codecs and attention agree on.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cairn {

// Tokens of a block: the unit of identity, sharing, encoding and transfer.
inline constexpr std::uint32_t kBlockTokens = 64;

// One token's K (or V) at one layer is [kv_heads, head_dim]. Values beyond these limits are refused at load.
struct PageShape {
  std::uint32_t kv_heads = 0;
  std::uint32_t head_dim = 0;

  std::size_t values_per_token() const { return std::size_t{kv_heads} * head_dim; }
  bool operator==(const PageShape&) const = default;
};

// Which half of the cache a page belongs to; the two have different layouts (see codec.h).
enum class Side : std::uint8_t { kKey = 0, kValue = 1 };

}  // namespace cairn
