// SPDX-License-Identifier: Apache-2.0
// The pages of one layer of one sequence, in token order. Every page but the last is full. A layer may have dropped
// full blocks that other layers still hold; the open tail is in all of them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cairn/block/page_pool.h"
#include "cairn/block/page_view.h"
#include "cairn/block/shape.h"

namespace cairn {

using PositionBlock = std::array<std::int32_t, kBlockTokens>;

// Layers may hold different tokens, so each has a table of its own; layers that hold the same tokens share the position
// blocks. Full position blocks are never written and may be shared between sequences; that of the open tail belongs to
// one sequence alone. Thread-compatible.
class LayerTable {
 public:
  struct Entry {
    PageRef keys;
    PageRef values;
    std::shared_ptr<PositionBlock> positions;
    std::size_t first_token;  // index within the sequence, a multiple of kBlockTokens
  };

  // One view per page, kept up to date by every change; changes invalidate the span.
  std::span<const PageView> views() const { return views_; }
  std::size_t blocks() const { return entries_.size(); }
  std::uint32_t tail_tokens() const;  // in the last page if that is not full, else 0
  const Entry& entry(std::size_t block) const { return entries_[block]; }

  // Whether the last page's K and V belong to this table alone, so that it may write to them.
  bool owns_tail() const;

  // Positions of the counted tokens are filled in before, in these two. Requires: count > 0.
  void append(Entry entry, std::uint32_t count);
  void set_tail_count(std::uint32_t count);
  void replace_pages(std::size_t block, PageRef keys, PageRef values);
  void replace_positions(std::size_t block, std::shared_ptr<PositionBlock> positions);

  // Which block holds the sequence's token, or blocks() when it was dropped or is not there yet.
  std::size_t find(std::size_t token) const;

  // Lets go of one block, wherever it lies.
  void drop(std::size_t block);

  // Keeps what belongs to the first `tokens` tokens of the sequence.
  void shrink(std::size_t tokens);

 private:
  std::vector<Entry> entries_;
  std::vector<PageView> views_;
};

}  // namespace cairn
