// SPDX-License-Identifier: Apache-2.0
// A block: how many tokens it has, the shapes and slots that pages, codecs and attention agree on, and where prompts
// are cut so that blocks come out whole.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace cairn {

// Tokens of a block: the unit of identity, sharing, encoding and transfer.
inline constexpr std::uint32_t kBlockTokens = 64;

// Tokens of a box: the least that a query reads of a block, or leaves unread. The page of the Quest paper.
inline constexpr std::uint32_t kBoxTokens = 16;
inline constexpr std::uint32_t kBlockBoxes = kBlockTokens / kBoxTokens;
inline constexpr std::uint8_t kAllBoxes = (1u << kBlockBoxes) - 1;  // of a block, a bit for each

// What a page of a layer holds; keys and values have different layouts (see codec.h). Part of stored records: a name
// keeps its number.
enum class PageSlot : std::uint8_t { kKeys = 0, kValues = 1 };
inline constexpr std::array kPageSlots = {PageSlot::kKeys, PageSlot::kValues};  // in the order of their numbers

// One token's K (or V) at one layer is [kv_heads, head_dim]. Where values lie in the keys a token has a K alone: the
// value of each head is what its key begins with (latent attention, docs/pass.md).
struct PageShape {
  std::uint32_t kv_heads = 0;
  std::uint32_t head_dim = 0;
  std::uint32_t values_in_keys = 0;  // channels of a key that are its value, a multiple of 8; 0: values have own pages

  std::size_t values_per_token() const { return std::size_t{kv_heads} * head_dim; }  // of one page
  bool has_value_pages() const { return values_in_keys == 0; }
  std::uint32_t value_dim() const { return has_value_pages() ? head_dim : values_in_keys; }  // what attention gives
  // Those that a token is stored in.
  std::span<const PageSlot> slots() const { return std::span(kPageSlots).first(has_value_pages() ? 2 : 1); }
  bool operator==(const PageShape&) const = default;
};

// One slot of one layer, and its place in any flat list that has something for each: layer by layer, slots in the order
// of their numbers.
struct LayerSlot {
  std::size_t layer = 0;
  PageSlot slot = PageSlot::kKeys;

  constexpr std::size_t index() const { return layer * kPageSlots.size() + static_cast<std::size_t>(slot); }
  static constexpr LayerSlot at(std::size_t index) {
    return {index / kPageSlots.size(), kPageSlots[index % kPageSlots.size()]};
  }
  bool operator==(const LayerSlot&) const = default;
};

// At most `max_rows` of the `wanted` tokens that follow `held` ones. A chunk that is not the last ends on a block
// border where it can, so that what was computed can be shared as it goes. Requires: wanted, max_rows > 0.
constexpr std::size_t chunk_rows(std::size_t held, std::size_t wanted, std::size_t max_rows) {
  const std::size_t count = std::min(wanted, max_rows), beyond = (held + count) % kBlockTokens;
  return count < wanted && beyond < count ? count - beyond : count;
}

}  // namespace cairn
