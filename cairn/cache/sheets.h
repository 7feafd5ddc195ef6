// SPDX-License-Identifier: Apache-2.0
// Memory that a table keeps beside its pages, in sheets of one size. Each is for sheet_blocks() blocks and holds its
// share of the budget.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "cairn/base/aligned_buffer.h"
#include "cairn/block/page_pool.h"

namespace cairn::cache {

struct Sheet {
  Reservation room;
  Scratch<std::byte> memory;
};

// A value: copies share their sheets, and a sheet goes back to the budget with the last of them. Blocks that a sheet
// covers never change, so only one that has room for more is copied before it is written. Thread-compatible.
class Sheets {
 public:
  Sheets(std::size_t sheet_bytes, std::size_t sheet_blocks) : sheet_bytes_(sheet_bytes), sheet_blocks_(sheet_blocks) {}

  std::size_t count() const { return sheets_.size(); }
  std::size_t blocks() const { return blocks_; }
  std::size_t sheet_blocks() const { return sheet_blocks_; }
  std::size_t bytes() const { return sheets_.size() * sheet_bytes_; }
  // Of the budget, to cover this many blocks: new sheets, and a copy of the last one where others hold it too.
  std::size_t growth(std::size_t blocks) const;

  // Covers this many blocks: zeros, where there was nothing. Requires: growth(blocks) in `room`.
  void grow(std::size_t blocks, Reservation& room);
  // Keeps the first `blocks`.
  void shrink(std::size_t blocks);
  // All blocks of sheet `number` are covered by another one's. Requires: that it is complete; the blocks before it are
  // covered, and those after it are not.
  void adopt(std::size_t number, std::shared_ptr<Sheet> sheet);

  std::byte* data(std::size_t sheet) const { return sheets_[sheet]->memory.data(); }
  const std::shared_ptr<Sheet>& sheet(std::size_t number) const { return sheets_[number]; }

 private:
  std::shared_ptr<Sheet> new_sheet(Reservation& room) const;
  bool copies_last(std::size_t blocks) const;

  std::size_t sheet_bytes_, sheet_blocks_;
  std::size_t blocks_ = 0;
  std::vector<std::shared_ptr<Sheet>> sheets_;
};

}  // namespace cairn::cache
